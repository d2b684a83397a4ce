# SPDX-License-Identifier: Apache-2.0
"""Which checksums of a packet follow a field that is made wrong on purpose, and how.

A checksum that covers the field may cover other checksums that follow it, too: those of a tunnel's
inner packet. So what each of them covers is found apart, from packets in which Scapy computes this
one alone, and they are updated from the innermost on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from uspnet.errors import Usage
from uspnet.packets.vary import domain as d
from uspnet.packets.vary.place import Layout, Named, Sum

SUMS = 0xFFFF  # Internet checksums are sums modulo this (RFC 1071)
MULTIPLES = (0, 1, 2)  # how often a sum covers a field
Renew = Callable[[int], int]


@dataclass(frozen=True)
class Spot:
    """Bits of a frame: their offset, and how many they are."""

    at: int
    bits: int

    @property
    def first(self) -> int:
        """Return the offset of the first byte that they are in."""
        return self.at // 8

    @property
    def end(self) -> int:
        """Return the offset behind the last byte that they are in."""
        return -(-(self.at + self.bits) // 8)

    def get(self, frame: bytes) -> int:
        """Return what a frame has there."""
        left = 8 * self.end - self.at - self.bits
        return int.from_bytes(frame[self.first : self.end], "big") >> left & (1 << self.bits) - 1

    def put(self, frame: bytes, value: int) -> bytes:
        """Return the frame with a value there."""
        left, size = 8 * self.end - self.at - self.bits, self.end - self.first
        was = int.from_bytes(frame[self.first : self.end], "big")
        now = was ^ (self.get(frame) ^ value) << left
        return frame[: self.first] + now.to_bytes(size, "big") + frame[self.end :]

    def words(self, frame: bytes, at: int) -> int:
        """Return the sum of the words in its bytes, as those of a checksum at an offset lie."""
        turn = 256 if (self.end - at) % 2 else 1  # a byte swap, modulo 2^16 - 1
        return int.from_bytes(frame[self.first : self.end], "big") * turn % SUMS


@dataclass(frozen=True)
class Part:
    """What a checksum covers: how often an Internet checksum has it in its sum, or what each of its
    bits, the lowest first, changes in a CRC.
    """

    spot: Spot
    times: int = 0
    crc: tuple[int, ...] = ()


@dataclass(frozen=True)
class Following:
    """A checksum, and all that it covers of what has changed before it."""

    spot: Spot
    zero: int
    parts: Sequence[Part]

    def follow(self, before: bytes, made: bytes) -> bytes:
        """Return the frame `made` with the checksum that follows from what it was `before`."""
        at, was = self.spot.first, self.spot.get(before)
        if any(part.crc for part in self.parts):
            return self.spot.put(made, was ^ self._changed(before, made))
        more = sum(p.times * (p.spot.words(made, at) - p.spot.words(before, at))
                   for p in self.parts)  # fmt: skip
        total = ((~was & SUMS) + more) % SUMS
        return self.spot.put(made, (~total & SUMS) if total else self.zero)

    def _changed(self, before: bytes, made: bytes) -> int:
        """Return the bits of a CRC that change: each bit's, whatever the others are."""
        change = 0
        for part in self.parts:
            bits = part.spot.get(before) ^ part.spot.get(made)
            for number, each in enumerate(part.crc):
                change ^= each if bits >> number & 1 else 0
        return change


@dataclass(frozen=True)
class Patch:
    """Makes a field of a frame wrong, and has the checksums follow."""

    spot: Spot
    renew: Renew
    checks: Sequence[Following] = ()

    def __call__(self, frame: bytes) -> bytes:
        """Return the frame with what is wrong in it."""
        made = self.spot.put(frame, self.renew(self.spot.get(frame)))
        for each in self.checks:
            made = each.follow(frame, made)
        return made


def checks_of(layout: Layout, place: Named, spot: Spot) -> list[Following]:
    """Return the checksums that follow a field, which lies at a spot, from the innermost on. Those
    further inside than the field go by the true packet. Raise Usage.
    """
    changed, made = [(place, spot)], []
    around = [each for each in layout.checks if each.layer <= place.layer]
    for each in sorted(around, key=lambda each: -each.layer):
        if each.name == place.name and each.layer == place.layer:
            continue
        find = _times if each.size == 2 else _bits
        if parts := [part for other in changed for part in find(layout, each, *other)]:
            own = Spot(8 * each.at, 8 * each.size)
            made.append(Following(own, each.zero, parts))
            changed.append((Named(each.layer, each.name, d.number(own.bits)), own))
    return made


def _times(layout: Layout, check: Sum, place: Named, spot: Spot) -> list[Part]:
    """Return how often an Internet checksum has a field in its sum; nothing if it doesn't. Raise
    Usage.
    """
    frames = [_alone(layout, check, place, value) for value in (0, 1)]
    sums = [SUMS - int.from_bytes(each[check.at : check.at + 2], "big") for each in frames]
    covered = [spot.words(each, check.at) for each in frames]
    for times in MULTIPLES:
        if not (sums[1] - sums[0] - times * (covered[1] - covered[0])) % SUMS:
            # To Scapy the length in UDP's pseudo-header is the true one; it is this field.
            own = place.layer == check.layer and place.name == "len" and check.zero
            return [Part(spot, times + 1 if own else times)] if times else []
    raise _unknown(check, place)


def _bits(layout: Layout, check: Sum, place: Named, spot: Spot) -> list[Part]:
    """Return what each bit of a field changes in a CRC; nothing if the CRC doesn't cover it. Raise
    Usage.
    """
    end = check.at + check.size
    values = [0, *(1 << bit for bit in range(spot.bits)), (1 << spot.bits) - 1]
    got = [_alone(layout, check, place, each)[check.at : end] for each in values]
    zeros, *bits, ones = (int.from_bytes(each, "big") for each in got)
    crc, together = tuple(each ^ zeros for each in bits), 0
    for each in crc:
        together ^= each
    if together != ones ^ zeros:
        raise _unknown(check, place)
    return [Part(spot, crc=crc)] if any(crc) else []


def _alone(layout: Layout, check: Sum, place: Named, value: int) -> bytes:
    """Return the frame with a value in a field, in which this checksum is right, and all others
    are 0.
    """
    return layout.build({place: value}, {(check.layer, check.name): None})


def _unknown(check: Sum, place: Named) -> Usage:
    return Usage(
        f"--break {place.name}: how the checksum {check.name} of the layer around follows from it "
        "can't be told",
        f"write that checksum out in --packet, as {check.name}=0, or break another field",
    )
