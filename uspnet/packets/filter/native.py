# SPDX-License-Identifier: Apache-2.0
"""Filters as machine code for x86-64: `uint32_t f(const uint8_t *packet, uint32_t wire, uint32_t
length)`, which returns what the program returns; 0 rejects the packet.

Registers: A is eax, X is ecx, M[] lies below the stack pointer. rdi: the packet; esi: its length on
the wire; rdx: the bytes that are there. r8 and r9 are free, r11 counts jumps back. Each load is
preceded by one comparison, unless all ways to it have made that already; additions to X are of 64
bits. Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from uspnet.fastpath import lib
from uspnet.packets.filter.program import (
    OPS,
    Op,
    Step,
    check,
    loops,
    memory_used,
    seen,
    skipped,
    targets,
)

MACHINE = "x86-64"
FARTHEST = (1 << 31) - 1  # bytes of a packet: what an instruction's signed displacement reaches
NUMBER = {"a": 0, "x": 1}  # of the registers
BITS = 32
ALWAYS, BELOW, ABOVE, ZERO, NEGATIVE = b"\xe9", b"\x0f\x82", b"\x0f\x87", b"\x0f\x84", b"\x0f\x88"
IF = {  # jumps if it holds, and if not: conditions of jcc
    "jeq": (0x84, 0x85),
    "jgt": (0x87, 0x86),
    "jge": (0x83, 0x82),
    "jset": (0x85, 0x84),
}
COMPARE = {"k": b"\x3d", "x": b"\x39\xc8"}  # cmp eax, k; cmp eax, ecx
TEST = {"k": b"\xa9", "x": b"\x85\xc8"}
WITH_K = {
    "add": b"\x05", "sub": b"\x2d", "mul": b"\x69\xc0",
    "or": b"\x0d", "and": b"\x25", "xor": b"\x35",
}  # fmt: skip
WITH_X = {
    "add": b"\x01\xc8", "sub": b"\x29\xc8", "mul": b"\x0f\xaf\xc1",
    "or": b"\x09\xc8", "and": b"\x21\xc8", "xor": b"\x31\xc8",
}  # fmt: skip
SHIFT = {"lsh": 0xE0, "rsh": 0xE8}


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


class _Emitter:
    """Appends the code of one instruction after another."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps, self.code = steps, bytearray()
        self.rejects = len(steps)  # where all jumps lead that reject the packet
        self.places: dict[int, int] = {}  # where the code of instructions begins
        self.jumps: list[tuple[int, int]] = []  # where a distance is to be written, and to where

    def run(self) -> bytes:
        self.code += b"\x31\xc0\x31\xc9\x89\xd2"  # eax, ecx = 0; the upper half of rdx, too
        if loops(self.steps):
            self.code += b"\x41\xbb" + _u32(lib.FILTER_JUMPS_BACK)  # mov r11d, …
        for word in memory_used(self.steps):
            self.code += b"\xc7" + self._memory(0, word) + _u32(0)
        for at, known in enumerate(seen(self.steps, FARTHEST)):
            self.places[at] = len(self.code)
            if known is not None:
                self._step(at, self.steps[at], known)
        self.places[self.rejects] = len(self.code)
        self.code += b"\x31\xc0\xc3"  # return 0
        for place, target in self.jumps:
            struct.pack_into("<i", self.code, place, self.places[target] - place - 4)
        return bytes(self.code)

    def _jump(self, how: bytes, target: int) -> None:
        self.code += how + bytes(4)
        self.jumps.append((len(self.code) - 4, target))

    def _reject(self, how: bytes) -> None:
        self._jump(how, self.rejects)

    @staticmethod
    def _memory(register: int, word: int) -> bytes:
        """Return the operands [rsp - 64 + 4 * word] and register: in the red zone."""
        return struct.pack("<BBb", 0x44 | register << 3, 0x24, 4 * word - 64)

    def _step(self, at: int, step: Step, known: int) -> None:
        op = OPS[step.code]
        match op.kind:
            case "load":
                self._load(op, step.value, known)
            case "store":
                self.code += b"\x89" + self._memory(NUMBER[op.to], step.value)
            case "compute":
                self._compute(op, step.value)
            case "jump":
                self._branch(op, step, at)
            case "skip":
                if skipped(step) < 0:
                    self.code += b"\x41\xff\xcb"  # dec r11d
                    self._reject(NEGATIVE)
                if skipped(step):
                    self._jump(ALWAYS, targets(at, step)[0])
            case "return":
                self.code += (b"\xb8" + _u32(step.value) if op.how == "k" else b"") + b"\xc3"
            case _:
                self.code += b"\x89\xc1" if op.to == "x" else b"\x89\xc8"

    # -- loads -----------------------------------------------------------------------------------

    def _load(self, op: Op, value: int, known: int) -> None:
        register = NUMBER[op.to]
        match op.how:
            case "k":
                self.code += bytes([0xB8 | register]) + _u32(value)
            case "memory":
                self.code += b"\x8b" + self._memory(register, value)
            case "length":
                self.code += bytes([0x89, 0xF0 | register])
            case "indirect":
                self._load_indirect(op, value)
            case _:
                self._load_absolute(op, value, register, known)

    def _load_absolute(self, op: Op, value: int, register: int, known: int) -> None:
        end = value + op.size
        if end > FARTHEST:
            self._reject(ALWAYS)
            return
        if end > known:
            self.code += b"\x81\xfa" + _u32(end)  # cmp edx, end
            self._reject(BELOW)
        place = bytes([0x87 | register << 3]) + _u32(value)  # [rdi + value]
        self._fetch(op, b"", place, register)
        if op.how == "header":
            self.code += b"\x83\xe1\x0f\xc1\xe1\x02"  # and ecx, 15; shl ecx, 2

    def _load_indirect(self, op: Op, value: int) -> None:
        end = value + op.size
        if end > FARTHEST:
            self._reject(ALWAYS)
            return
        self.code += (
            b"\x4c\x8d\x81" + _u32(end) + b"\x49\x39\xd0"
        )  # lea r8, [rcx + end]; cmp r8, rdx
        self._reject(ABOVE)
        self._fetch(op, b"\x42", struct.pack("<BBb", 0x44, 0x07, -op.size), 0)  # [rdi + r8 - size]

    def _fetch(self, op: Op, prefix: bytes, place: bytes, register: int) -> None:
        """Load a number in network byte order."""
        load = {4: b"\x8b", 2: b"\x0f\xb7", 1: b"\x0f\xb6"}[op.size]
        self.code += prefix + load + place
        if op.size == 4:
            self.code += bytes([0x0F, 0xC8 | register])  # bswap
        elif op.size == 2:
            self.code += bytes([0x66, 0xC1, 0xC0 | register, 8])  # rol ax, 8

    # -- arithmetic and jumps --------------------------------------------------------------------

    def _compute(self, op: Op, value: int) -> None:
        if op.name == "neg":
            self.code += b"\xf7\xd8"
        elif op.name in {"div", "mod"}:
            self._divide(op, value)
        elif op.name in SHIFT:
            self._shift(op, value)
        else:
            self.code += WITH_K[op.name] + _u32(value) if op.how == "k" else WITH_X[op.name]

    def _divide(self, op: Op, value: int) -> None:
        if op.how == "k":
            by = b"\x41\xf7\xf0"  # div r8d
            self.code += b"\x41\xb8" + _u32(value)
        else:
            by = b"\xf7\xf1"  # div ecx
            self.code += b"\x85\xc9"
            self._reject(ZERO)
        rest = b"\x89\xd0" if op.name == "mod" else b""
        self.code += b"\x41\x89\xd1\x31\xd2" + by + rest + b"\x44\x89\xca"  # edx is kept in r9d

    def _shift(self, op: Op, value: int) -> None:
        """Shift; by 32 or more gives 0, where the machine takes the number modulo 32."""
        way = SHIFT[op.name]
        if op.how == "x":  # shl eax, cl; r8d = ecx < 32 ? ~0 : 0; and eax, r8d
            self.code += bytes([0xD3, way]) + b"\x83\xf9\x20\x45\x19\xc0\x44\x21\xc0"
        else:
            self.code += bytes([0xC1, way, value]) if value < BITS else b"\x31\xc0"

    def _branch(self, op: Op, step: Step, at: int) -> None:
        if_true, if_false = targets(at, step)
        if if_true != if_false:
            self.code += (TEST if op.name == "jset" else COMPARE)[op.how]
            self.code += _u32(step.value) if op.how == "k" else b""
            holds, fails = IF[op.name]
            if if_true != at + 1:
                self._jump(bytes([0x0F, holds]), if_true)
            else:
                self._jump(bytes([0x0F, fails]), if_false)
                return
        if if_false != at + 1:
            self._jump(ALWAYS, if_false)


def emit(steps: Sequence[Step]) -> bytes:
    """Return the machine code of a program. Raises Malformed."""
    check(steps)
    return _Emitter(steps).run()
