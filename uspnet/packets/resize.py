# SPDX-License-Identifier: Apache-2.0
"""Frames of many sizes, of which Scapy makes a few: the others follow from these.

Nothing here knows a protocol. What differs between the headers of two sizes is a length, which is
the size and a constant, or an Internet checksum, which is a multiple of the size and a constant. A
few sizes tell which, and others prove it. Where anything else differs, nothing follows.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.fastpath import lib
from uspnet.packets.frames import Template
from uspnet.packets.signing import Check, follow

if TYPE_CHECKING:
    from scapy.packet import Packet

FEW = 12  # sizes that are made one by one
TOLD, PROVEN = 6, 3  # sizes that tell what follows, and that prove it
SUMS = 0xFFFF  # Internet checksums are sums modulo this (RFC 1071)
MULTIPLES = range(1, 5)  # how often a size is in a checksum: by each length that it covers


class NothingFollows(Exception):
    """Frames of other sizes don't follow from those that were made."""


def probes(sizes: Sequence[int]) -> list[int]:
    """Return the sizes that are to be made, those that tell what follows first; none if all are,
    since they are few.
    """
    distinct = sorted(set(sizes))
    if len(distinct) <= FEW:
        return []
    others = distinct[1:-1]
    chosen = random.Random(1).sample(others, TOLD + PROVEN - 2)  # noqa: S311 - no secret
    return [distinct[0], distinct[-1], *chosen]


@dataclass(frozen=True)
class Length:
    """A length: a word, most significant byte first."""

    at: int
    less: int  # than the size

    def put(self, frame: bytearray) -> None:
        """Write it into a frame."""
        struct.pack_into("!H", frame, self.at, len(frame) - self.less & 0xFFFF)


@dataclass(frozen=True)
class Sum:
    """An Internet checksum, which has the size so many times in it."""

    at: int
    times: int
    base: int

    def put(self, frame: bytearray) -> None:
        """Write it into a frame. Raise NothingFollows where it may be one of two."""
        value = (self.base + self.times * len(frame)) % SUMS
        if not value:
            raise NothingFollows  # 0 or 65,535
        struct.pack_into("!H", frame, self.at, SUMS - value)


def resize(made: Sequence[Template], sizes: Sequence[int]) -> list[Template]:
    """Return a template of each size, by those of the sizes of `probes`, in their order. Raise
    NothingFollows.
    """
    largest = max(made, key=lambda each: len(each.frame))
    end = len(largest.frame) - largest.payload
    if any(len(each.frame) - each.payload != end for each in made):
        raise NothingFollows
    words = _words_of([each.frame for each in made[:TOLD]], end)
    frames = {size: _frame(largest.frame, words, size) for size in sizes}
    if any(frames[len(each.frame)] != each.frame for each in made):
        raise NothingFollows
    known = {len(each.frame): each for each in made}
    checks = Checks(largest)
    return [known.get(size) or following(frames[size], end, checks) for size in sizes]


def _words_of(frames: Sequence[bytes], end: int) -> list[Length | Sum]:
    """Return what differs between the headers of frames. Raise NothingFollows if anything else
    does.
    """
    words: list[Length | Sum] = []
    at = 0
    while at < end:
        if len({frame[at] for frame in frames}) == 1:
            at += 1
            continue
        word = _word(frames, at - 1, end) or _word(frames, at, end)
        if not word:
            raise NothingFollows
        words.append(word)
        at = word.at + 2
    return words


def _frame(largest: bytes, words: Sequence[Length | Sum], size: int) -> bytes:
    """Return the frame of a size. Raise NothingFollows where there is no telling."""
    made = bytearray(largest[:size])
    for each in words:
        each.put(made)
    return bytes(made)


class Checks:
    """The checksums that follow from bytes at an offset in the payload, by that."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.known: dict[int, Check] = {}

    def at(self, offset: int) -> Check:
        """Return one. Raise Usage."""
        if offset not in self.known:
            self.known[offset] = follow(self.template.rebuild, offset)
        return self.known[offset]


def following(
    frame: bytes, end: int, checks: Checks, packet: Callable[[], Packet] | None = None
) -> Template:
    """Return the template of a frame whose payload starts at `end`, and whose checksums follow from
    it as those of another frame do from the same bytes. `packet`: as in Template.
    """

    def rebuild(at: int, data: bytes) -> bytes:
        return _replaced(frame, at, data, checks.at(at))

    return Template(frame, len(frame) - end, rebuild, packet)


def _word(frames: Sequence[bytes], at: int, end: int) -> Length | Sum | None:
    """Return what the words at an offset are."""
    if not 0 <= at <= end - 2:
        return None
    pairs = [(len(frame), int(struct.unpack_from("!H", frame, at)[0])) for frame in frames]
    less = {size - word for size, word in pairs}
    if len(less) == 1:
        return Length(at, less.pop())
    for times in MULTIPLES:
        bases = {(SUMS - word - times * size) % SUMS for size, word in pairs}
        if len(bases) == 1:
            return Sum(at, times, bases.pop())
    return None


def _replaced(frame: bytes, at: int, data: bytes, check: Check) -> bytes:
    """Return the frame with other bytes of its payload, no more than a signature has, and its
    checksum as it follows. `check`: of a similar frame.
    """
    made = bytearray(frame)
    made[at : at + len(data)] = data
    if check.kind == lib.CHECK_SUM:
        word = int(struct.unpack_from("=H", frame, check.at)[0])
        more = _sum(data, check) - _sum(frame[at : at + len(data)], check)
        value = (SUMS - word + more) % SUMS
        struct.pack_into("=H", made, check.at, SUMS - value if value else check.zero)
    elif check.kind == lib.CHECK_CRC:
        crc = int(struct.unpack_from("=I", frame, check.at)[0])
        for place, byte in enumerate(data):
            crc ^= check.crc[place * 256 + (byte ^ frame[at + place])]
        struct.pack_into("=I", made, check.at, crc)
    return bytes(made)


def _sum(data: bytes, check: Check) -> int:
    """Return the sum of a payload's words in the checksum's order."""
    data += bytes(len(data) % 2)
    word: int = sum(struct.unpack(f"={len(data) // 2}H", data))
    return word << 8 if check.swapped else word
