# SPDX-License-Identifier: Apache-2.0
"""Filters as eBPF, for XDP: a program of struct bpf_insn on a struct xdp_md.

Registers: A is r2, X is r3, M[] lies below r10. r6: the context; r7: the packet; r8: its end; r9:
its length, if the filter asks for it. r4 and r5 are free. The verifier follows the comparisons that
precede loads: of constant places with r8, of others with the most that it can bear first.
References: linux/bpf.h; Linux Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from uspnet.errors import NotSupported
from uspnet.packets.filter.made import Filter
from uspnet.packets.filter.program import (
    OPS,
    Op,
    Step,
    check,
    loops,
    memory_used,
    seen,
    targets,
)

A, X, FREE, END, CONTEXT, PACKET, LIMIT, LENGTH, FRAME = 2, 3, 4, 5, 6, 7, 8, 9, 10
FARTHEST = 0xFFF0  # bytes of a packet that are looked at: below what the verifier lets be added
NEAR = 0x7FF0  # what a load's offset reaches
BITS = 32
BUFFER_LENGTH = 188  # bpf_xdp_get_buff_len(), since Linux 5.18
LOAD = {4: 0x61, 2: 0x69, 1: 0x71}  # BPF_LDX | BPF_MEM
STORE_4, STORE_K_4 = 0x63, 0x62
MOVE_K, MOVE_X, ADD_K, ADD_X = 0xB7, 0xBF, 0x07, 0x0F  # of 64 bits
COMPUTE_K, COMPUTE_X = 0x04, 0x0C  # of 32 bits: and classic BPF's operation
JUMP_K, JUMP_X = 0x06, 0x0E  # by a comparison of 32 bits
MOVE = 0xB0
TO_HOST = 0xDC  # from big-endian
ALWAYS, ABOVE_K, ABOVE_X, EQUAL_K_4 = 0x05, 0x25, 0x2D, 0x16
CALL, EXIT = 0x85, 0x95
LOADED = 16  # words of 4 bytes in M[]


class Instruction(NamedTuple):
    """One instruction, as struct bpf_insn has it, but for where it jumps to: a label."""

    code: int
    to: int = 0
    source: int = 0
    offset: int = 0
    value: int = 0
    label: int | None = None

    def packed(self, distance: int) -> bytes:
        """Return its bytes. `distance`: of the jump, in instructions."""
        offset = self.offset if self.label is None else distance
        value = self.value & 0xFFFFFFFF
        return struct.pack("<BBhI", self.code, self.source << 4 | self.to, offset, value)


class _Emitter:
    """Appends the instructions of one step after another. Labels are the numbers of steps, and two
    more.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps, self.made = steps, list[Instruction]()
        self.accepts, self.rejects = len(steps), len(steps) + 1
        self.places: dict[int, int] = {}

    def add(self, code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> None:
        self.made.append(Instruction(code, to, source, offset, value))

    def jump(
        self, label: int, code: int = ALWAYS, to: int = 0, source: int = 0, k: int = 0
    ) -> None:
        self.made.append(Instruction(code, to, source, 0, k, label))

    def run(self, ends: dict[int, bytes]) -> bytes:
        """Return the program. `ends`: the instructions behind each of the last two labels."""
        self._begin()
        for at, known in enumerate(seen(self.steps, FARTHEST)):
            self.places[at] = len(self.made)
            if known is not None:
                self._step(at, self.steps[at], known)
        tail, place = b"", len(self.made)
        wanted = {each.label for each in self.made}
        for label, end in ends.items():
            self.places[label] = place
            if label in wanted:  # what is never reached, the verifier rejects
                tail, place = tail + end, place + len(end) // 8
        return b"".join(self._packed(at) for at in range(len(self.made))) + tail

    def _packed(self, at: int) -> bytes:
        each = self.made[at]
        distance = 0 if each.label is None else self.places[each.label] - at - 1
        if distance >= 1 << 15:
            raise NotSupported("the filter is too long for XDP", "make it simpler")
        return each.packed(distance)

    def _begin(self) -> None:
        self.add(MOVE_X, CONTEXT, 1)
        if any(OPS[step.code].how == "length" for step in self.steps):
            self.add(CALL, value=BUFFER_LENGTH)
            self.add(MOVE_X, LENGTH, 0)
        self.add(LOAD[4], PACKET, CONTEXT, 0)  # xdp_md.data
        self.add(LOAD[4], LIMIT, CONTEXT, 4)  # xdp_md.data_end
        self.add(MOVE_K, A)
        self.add(MOVE_K, X)
        for word in memory_used(self.steps):
            self.add(STORE_K_4, FRAME, offset=self._word(word))

    @staticmethod
    def _word(word: int) -> int:
        return 4 * (word - LOADED)

    def _step(self, at: int, step: Step, known: int) -> None:
        op = OPS[step.code]
        match op.kind:
            case "load":
                self._load(op, step.value, known)
            case "store":
                self.add(STORE_4, FRAME, X if op.to == "x" else A, self._word(step.value))
            case "compute":
                self._compute(op, step)
            case "jump":
                self._branch(at, step)
            case "skip":
                self.jump(targets(at, step)[0])
            case "return" if op.how == "k":
                self.jump(self.accepts if step.value else self.rejects)
            case "return":
                self.jump(self.rejects, EQUAL_K_4, A)
                self.jump(self.accepts)
            case _:
                self.add(COMPUTE_X | MOVE, *((X, A) if op.to == "x" else (A, X)))

    def _load(self, op: Op, value: int, known: int) -> None:
        to = X if op.to == "x" else A
        match op.how:
            case "k":
                self.add(COMPUTE_K | MOVE, to, value=value)
            case "memory":
                self.add(LOAD[4], to, FRAME, self._word(value))
            case "length":
                self.add(MOVE_X, to, LENGTH)
            case _:
                self._load_packet(op, value, known, to)

    def _load_packet(self, op: Op, value: int, known: int, to: int) -> None:
        """Load a number of the packet, if it is there."""
        end = value + op.size
        if end > FARTHEST:
            self.jump(self.rejects)
            return
        base, offset = FREE, -op.size
        if op.how == "indirect":
            offset = 0
            self.add(MOVE_X, FREE, X)
            self.add(ADD_K, FREE, value=value)
            self.jump(self.rejects, ABOVE_K, FREE, k=FARTHEST)
            self.add(ADD_X, FREE, PACKET)
            self.add(MOVE_X, END, FREE)
            self.add(ADD_K, END, value=op.size)
            self.jump(self.rejects, ABOVE_X, END, LIMIT)
        elif end > known or end > NEAR:
            self.add(MOVE_X, FREE, PACKET)
            self.add(ADD_K, FREE, value=end)
            self.jump(self.rejects, ABOVE_X, FREE, LIMIT)
        else:
            base, offset = PACKET, value
        self.add(LOAD[op.size], to, base, offset)
        if op.size > 1:
            self.add(TO_HOST, to, value=8 * op.size)
        if op.how == "header":
            self.add(COMPUTE_K | 0x50, X, value=15)
            self.add(COMPUTE_K | 0x60, X, value=2)

    def _compute(self, op: Op, step: Step) -> None:
        operation = step.code & 0xF0  # the same as in classic BPF
        if op.how == "k":
            if op.name in {"lsh", "rsh"} and step.value >= BITS:
                self.add(COMPUTE_K | MOVE, A)
            else:
                self.add(COMPUTE_K | operation, A, value=0 if op.name == "neg" else step.value)
            return
        if op.name in {"div", "mod"}:
            self.jump(self.rejects, EQUAL_K_4, X)
        self.add(COMPUTE_X | operation, A, X)
        if op.name in {"lsh", "rsh"}:  # by 32 or more gives 0; the machine takes it modulo 32
            self.made.append(Instruction(0xB5, X, 0, 1, BITS - 1))  # if r3 <= 31 goto +1
            self.add(COMPUTE_K | MOVE, A)

    def _branch(self, at: int, step: Step) -> None:
        op, (if_true, if_false) = OPS[step.code], targets(at, step)
        if if_true != if_false:
            operation = step.code & 0xF0  # the same as in classic BPF
            if op.how == "k":
                self.jump(if_true, JUMP_K | operation, A, k=step.value)
            else:
                self.jump(if_true, JUMP_X | operation, A, X)
        if if_false != at + 1:
            self.jump(if_false)


def _end(action: int | bytes) -> bytes:
    """Return the instructions that return an action, or those given."""
    if isinstance(action, bytes):
        return action
    return Instruction(MOVE_K, value=action).packed(0) + Instruction(EXIT).packed(0)


def program(only: Filter, accept: int | bytes, reject: int | bytes) -> bytes:
    """Return a program for XDP, of struct bpf_insn, that returns `accept` for packets that a filter
    accepts and `reject` for others; or ends with these instructions, for which r6 is the context.

    Lengths are those of the whole packet, its bytes those of its first piece, up to 65,520. Needs
    Linux 5.1, and 5.18 for a filter that looks at lengths. Raises NotSupported for one that jumps
    back, since the verifier can't see its end, and for one that is too long.
    """
    check(only.steps)
    if loops(only.steps):
        hint = "it is a loop: protochain; write: proto"
        raise NotSupported(f"filter {only.text!r}: XDP runs no filter that jumps back", hint)
    emitter = _Emitter(only.steps)
    return emitter.run({emitter.accepts: _end(accept), emitter.rejects: _end(reject)})
