# SPDX-License-Identifier: Apache-2.0
"""Classic BPF: its instructions, and the check that a program has to pass before anything is made
of it.

References: McCanne and Jacobson, The BSD Packet Filter, 1993; linux/bpf_common.h.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from uspnet.errors import Malformed
from uspnet.fastpath import lib

WORDS = 16  # of memory, M[]
U32 = 1 << 32


class Step(NamedTuple):
    """One instruction, as struct bpf_insn has it."""

    code: int
    if_true: int
    if_false: int
    value: int


class Op(NamedTuple):
    """What an instruction does. `name`: as tcpdump -d has it, without the register. `how`: where
    the operand is: `k`, the constant; `x`, the register; or a load's mode. `to`: the register that
    is loaded or stored. `size`: bytes of the packet that are loaded.
    """

    kind: str  # load, store, compute, jump, skip, return, move
    name: str
    how: str = ""
    to: str = "a"
    size: int = 0


_COMPUTE = ("add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor")
_JUMP = ("jeq", "jgt", "jge", "jset")

OPS: dict[int, Op] = {
    0x00: Op("load", "ld", "k"),
    0x01: Op("load", "ld", "k", "x"),
    0x20: Op("load", "ld", "absolute", "a", 4),
    0x28: Op("load", "ldh", "absolute", "a", 2),
    0x30: Op("load", "ldb", "absolute", "a", 1),
    0x40: Op("load", "ld", "indirect", "a", 4),
    0x48: Op("load", "ldh", "indirect", "a", 2),
    0x50: Op("load", "ldb", "indirect", "a", 1),
    0x60: Op("load", "ld", "memory"),
    0x61: Op("load", "ld", "memory", "x"),
    0x80: Op("load", "ld", "length"),
    0x81: Op("load", "ld", "length", "x"),
    0xB1: Op("load", "ldb", "header", "x", 1),  # 4 * ([k] & 15): of an IPv4 header
    0x02: Op("store", "st"),
    0x03: Op("store", "st", to="x"),
    **{0x04 + (n << 4): Op("compute", name, "k") for n, name in enumerate(_COMPUTE)},
    **{
        0x0C + (n << 4): Op("compute", name, "x")
        for n, name in enumerate(_COMPUTE)
        if name != "neg"
    },
    0x05: Op("skip", "ja"),  # by a signed number
    **{0x15 + (n << 4): Op("jump", name, "k") for n, name in enumerate(_JUMP)},
    **{0x1D + (n << 4): Op("jump", name, "x") for n, name in enumerate(_JUMP)},
    0x06: Op("return", "ret", "k"),
    0x16: Op("return", "ret", "a"),
    0x07: Op("move", "tax", to="x"),
    0x87: Op("move", "txa", to="a"),
}


def skipped(step: Step) -> int:
    """Return how many instructions `ja` skips; it goes back when that is negative."""
    return step.value - U32 if step.value >= U32 >> 1 else step.value


def targets(at: int, step: Step) -> list[int]:
    """Return the numbers of the instructions that may follow the one at `at`."""
    kind = OPS[step.code].kind
    if kind == "return":
        return []
    if kind == "skip":
        return [at + 1 + skipped(step)]
    return [at + 1 + n for n in (step.if_true, step.if_false)] if kind == "jump" else [at + 1]


def wrong(steps: Sequence[Step]) -> str:
    """Return in words why the program can't be run; empty if it can: each instruction is known, all
    that follow one another are in the program, constants are in range.
    """
    if not 0 < len(steps) <= lib.FILTER_STEPS:
        return f"it has {len(steps):,} instructions"
    for at, step in enumerate(steps):
        op = OPS.get(step.code)
        if not op or not (0 <= step.value < U32 and 0 <= step.if_true < 256 > step.if_false >= 0):
            return f"instruction {at} is none"
        if not all(0 <= each < len(steps) for each in targets(at, step)):
            return f"instruction {at} leads out of it"
        if (op.kind == "store" or op.how == "memory") and step.value >= WORDS:
            return f"instruction {at} uses word {step.value} of {WORDS}"
        if op.name in {"div", "mod"} and op.how == "k" and not step.value:
            return f"instruction {at} divides by zero"
    return ""


def check(steps: Sequence[Step]) -> None:
    """Raise Malformed for a program that can't be run."""
    if why := wrong(steps):
        raise Malformed(f"the filter's program can't be run: {why}", "see: uspnet capture -d")


def loops(steps: Sequence[Step]) -> bool:
    """Return whether a program that was checked jumps back."""
    return any(OPS[step.code].kind == "skip" and skipped(step) < 0 for step in steps)


def seen(steps: Sequence[Step], farthest: int) -> list[int | None]:
    """Return for each instruction of a program that was checked the bytes that the packet has when
    it is reached, since those before it were loaded; None: it is never reached. Nothing beyond
    `farthest` bytes can be loaded: that rejects the packet.
    """
    found: list[int | None] = [0, *[None] * (len(steps) - 1)]
    for at, step in enumerate(steps):
        if OPS[step.code].kind == "skip" and skipped(step) < 0:
            found[targets(at, step)[0]] = 0
    for at, step in enumerate(steps):
        known, op = found[at], OPS[step.code]
        if known is None:
            continue
        if op.size:
            if step.value + op.size > farthest:
                continue
            known = max(known, step.value + op.size) if op.how != "indirect" else known
        for follower in targets(at, step):
            before = found[follower]
            found[follower] = known if before is None else min(before, known)
    return found


def memory_used(steps: Sequence[Step]) -> Iterator[int]:
    """Return the words of memory that are loaded, and are 0 at first."""
    yield from sorted({step.value for step in steps if OPS[step.code].how == "memory"})
