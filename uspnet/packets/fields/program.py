# SPDX-License-Identifier: Apache-2.0
"""Field programs as C takes them, see fastpath/fields/program.c."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.memory import new
from uspnet.packets.fields.field import Field

GOLDEN, WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1
SUMS = 0xFFFF  # Internet checksums are sums modulo this (RFC 1071)
ENDS = sys.byteorder


def mix(state: int) -> int:
    """Return a random number of 64 bits, as SplitMix64 does."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & WORD
    state = (state ^ state >> 27) * 0x94D049BB133111EB & WORD
    return state ^ state >> 31


def seed_for(purpose: str, seed: int) -> int:
    """Return a seed of 64 bits for one of the things that are drawn from one seed, so that they are
    independent.
    """
    return mix((seed & WORD) ^ int.from_bytes(sha256(purpose.encode()).digest()[:8], "big"))


@dataclass(frozen=True)
class Index:
    """Which of `count` values the packet of a number gets, as C's `struct program_index`."""

    count: int
    kind: int = lib.CHOICE_TURN
    every: int = 1
    seed: int = 0
    alias: Sequence[tuple[int, int]] = field(default=(), compare=False)

    def of(self, number: int) -> int:
        """Return the index of a packet, by its number, as C chooses it."""
        if self.kind == lib.CHOICE_TURN:
            return number // self.every % self.count
        bits = mix((self.seed + (number + 1) * GOLDEN) & WORD)
        if self.kind == lib.CHOICE_RANDOM:
            return bits * self.count >> 64
        row = (bits >> 32) * self.count >> 32
        threshold, other = self.alias[row]
        return row if bits & 0xFFFFFFFF < threshold else other


@dataclass(frozen=True)
class Step:
    """A value of `bits` bits at `at` bits from the frame's start, as C's `struct program_step`."""

    at: int
    bits: int
    low: int = 0
    step: int = 1
    values: Sequence[int] | None = None
    factors: tuple[int, ...] = ()

    @property
    def first(self) -> int:
        """Return the offset of the first byte that it writes."""
        return self.at // 8

    @property
    def size(self) -> int:
        """Return the number of bytes that it writes."""
        return -(-(self.at + self.bits) // 8) - self.first

    @property
    def shift(self) -> int:
        """Return the bits of the last byte that are not its own."""
        return (self.first + self.size) * 8 - self.at - self.bits

    @property
    def mask(self) -> bytes:
        """Return the bits that it writes, of its bytes."""
        return (((1 << self.bits) - 1) << self.shift).to_bytes(self.size, "big")

    def value(self, index: int) -> int:
        """Return the value of an index."""
        if self.values is not None:
            return self.values[index]
        return (self.low + index * self.step) & WORD

    def words(self, frame: bytes) -> int:
        """Return what a frame has in its place, as C adds it up."""
        data = frame[self.first : self.first + self.size]
        return words(bytes(a & b for a, b in zip(data, self.mask, strict=True)))


def words(data: bytes) -> int:
    """Return the sum of up to 8 bytes' words, in the machine's order of bytes."""
    return int.from_bytes(data.ljust(8, b"\0"), ENDS) % SUMS


@dataclass(frozen=True)
class Check:
    """An Internet checksum that follows, as C's `struct program_check`."""

    at: int
    rest: int
    zero: int


@dataclass(frozen=True)
class Only:
    """Packets that have a word of 8 bytes at an offset, under a mask."""

    at: int
    word: bytes
    mask: bytes


Part = tuple[int, int]  # number of a worker, and of how many


@dataclass
class Program(Field, name="program"):
    """Writes values into each packet, and corrects the checksums that they change.

    `groups`: steps that move together, and the index that decides about them. `only`: the packets
    that it writes; None: all.
    """

    groups: Sequence[tuple[Index, Sequence[Step]]]
    checks: Sequence[Check] = ()
    repeats = True
    flow: Index | None = None  # of `groups`, where it says which flow a packet belongs to
    name_flow: Callable[[int], str] = str  # by that index
    only: Only | None = None
    _owned: Owned = field(default_factory=Owned)
    _arrays: dict[str, object] = field(default_factory=dict)

    def make(self, following: c.Field = ffi.NULL, part: Part = (0, 1)) -> c.Struct:
        """Make the C struct for one worker, which plays every n-th packet of the sequence."""
        if not self._arrays:
            self._arrays = self._fill()
        first, stride = part
        values = {**self._arrays, "first": first, "stride": stride}
        if self.only:
            values |= {
                "only_at": self.only.at,
                "only": int.from_bytes(self.only.word, ENDS),
                "only_mask": int.from_bytes(self.only.mask, ENDS),
            }
        made: c.Struct = new("struct program_field *", values)
        self.link(made, following)
        return made

    def writes(self, at: int, size: int) -> bool:
        """Return whether it writes some of the `size` bytes at offset `at`, or goes by them."""
        if self.only:
            first, end = (max(each - self.only.at, 0) for each in (at, at + size))
            if any(self.only.mask[first:end]):
                return True
        steps = [step for _, group in self.groups for step in group]
        return any(at - step.size < step.first < at + size for step in steps)

    def takes(self, frame: bytes) -> bool:
        """Return whether it writes a frame, or would if that were longer."""
        if not self.only or len(frame) < self.only.at + len(self.only.mask):
            return True
        word = frame[self.only.at : self.only.at + len(self.only.mask)]
        return bytes(a & b for a, b in zip(word, self.only.mask, strict=True)) == self.only.word

    def follows(self, at: int) -> bool:
        """Return whether it corrects a checksum at this offset."""
        return any(check.at == at for check in self.checks)

    def reach(self) -> int:
        """Return how many bytes a frame must have for it."""
        looked = self.only.at + len(self.only.mask) if self.only else 0
        return max(self._end(), looked)

    def head(self, length: int) -> int:
        """Return how many bytes of a frame, the first ones of `length`, it may change."""
        return min(self._end(), length)

    def _end(self) -> int:
        """Return the offset behind the last byte that it writes."""
        ends = [step.first + step.size for _, group in self.groups for step in group]
        return max([*ends, *(check.at + 2 for check in self.checks)], default=0)

    def _fill(self) -> dict[str, object]:
        """Return the arrays that all workers share, and their lengths."""
        steps = [step for _, group in self.groups for step in group]
        arrays: dict[str, list[object]] = {
            "indexes": [self._index(index, len(group)) for index, group in self.groups],
            "steps": [self._step(step) for step in steps],
            "checks": [(each.at, each.rest, each.zero) for each in self.checks],
        }
        made: dict[str, object] = {f"n_{name}": len(rows) for name, rows in arrays.items()}
        for name, rows in arrays.items():
            kind = {"indexes": "index"}.get(name, name[:-1])
            made[name] = self._owned.keep(new(f"struct program_{kind}[]", rows))
        return made

    def _index(self, index: Index, shared: int) -> dict[str, object]:
        alias = ffi.NULL
        if index.alias:
            alias = self._owned.keep(new("struct program_alias[]", list(index.alias)))
        return {
            "kind": index.kind,
            "shared": shared,
            "count": index.count & WORD,
            "every": min(index.every, WORD),
            "seed": index.seed & WORD,
            "alias": alias,
        }

    def _step(self, step: Step) -> dict[str, object]:
        values, whole = ffi.NULL, step.bits == 8 * step.size
        shift = 64 - 8 * step.size + step.shift
        if step.values is not None:
            words = [(value << shift).to_bytes(8, "big") for value in step.values]
            values = self._owned.keep(new("uint64_t[]", len(words)))
            ffi.memmove(values, b"".join(words), 8 * len(words))
        return {
            "values": values,
            "low": step.low << shift & WORD,
            "step": step.step << shift & WORD,
            "mask": 0 if whole else int.from_bytes(step.mask.ljust(8, b"\0"), ENDS),
            "at": step.first,
            "bytes": step.size,
            "factors": step.factors,
        }


def sample(program: Program, frames: Sequence[bytes], part: Part = (0, 1)) -> list[bytes]:
    """Return what C makes of these frames, no more than a burst, as a worker's first packets.
    Raise Usage for a frame that is too short for the program.
    """
    program.check_length(min(map(len, frames)))
    size = max(map(len, frames))
    memory = new("uint8_t[]", size * len(frames))
    pool = new("struct pool *", (memory, size, len(frames)))
    packets = new("struct packet[]", [(i, 0, len(frame)) for i, frame in enumerate(frames)])
    for number, frame in enumerate(frames):
        ffi.memmove(memory + number * size, frame, len(frame))
    made = program.make(part=part)
    lib.field_program(ffi.cast("struct field *", made), pool, packets, len(frames))
    return [
        bytes(ffi.buffer(memory + number * size, len(frame))) for number, frame in enumerate(frames)
    ]
