# SPDX-License-Identifier: Apache-2.0
"""What pktgen sends, as the fast path takes it, and how it is recognized when it comes back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.memory import new, octets
from uspnet.packets.breaking import Wrong
from uspnet.packets.fields.field import Field, make_chain
from uspnet.packets.frames import FRAME_MIN, SIGNATURE_BYTES, MeanSize, Template
from uspnet.packets.shape import Shape
from uspnet.packets.signing import NO_CHECK, Check, follow
from uspnet.packets.sizes import FCS, Sizes
from uspnet.packets.vary.change import Change

WORDS = 16  # bytes that are copied at once
CHECK_BYTES = {lib.CHECK_NONE: 0, lib.CHECK_SUM: 2, lib.CHECK_ADD: 2, lib.CHECK_CRC: 4}


@dataclass
class Traffic:
    """What to send: frames without FCS, in turn; `rate` in packets a second (0: no limit), or a
    `shape` instead; whether each packet carries a sequence number and the time it was due, in 18
    bytes at the same offset of each frame, the last ones of the shortest; and what else differs
    between packets.
    """

    templates: Sequence[Template]
    rate: float = 0.0
    sequence: bool = False
    fields: Sequence[Field] = ()
    change: Change | None = None  # what the fields were compiled from
    sizes: Sizes | None = None  # what the templates were made of
    order: Sequence[int] = ()  # the template of each packet of a cycle; empty: one after another
    shape: Shape | None = None  # of the rate over time
    notes: Sequence[str] = ()  # what is to be said about the files that the frames are of
    dry: bool = False  # to a file, stamped with when packets would be due
    wrong: Wrong = field(default_factory=Wrong)  # what was broken in the frames by `break_packets`

    def __post_init__(self) -> None:
        """Raise Usage when there is nothing to send, a rate is out of range, or a field writes
        behind a frame's end.
        """
        if not self.templates or not all(each.frame for each in self.templates):
            raise Usage(
                "traffic needs at least one frame, and none that is empty", "add a template"
            )
        if not 0 <= self.rate < float("inf"):
            raise Usage(f"rate={self.rate}", "packets a second; 0: as fast as the port takes them")
        self._check_lengths()

    def _check_lengths(self) -> None:
        """Raise Usage when a field would write behind the end of a frame that is its own."""
        frames = [each.frame for each in self.templates]
        for each in self.fields:
            if taken := [len(frame) for frame in frames if each.takes(frame)]:
                each.check_length(min(taken))

    def break_packets(self, wrong: Wrong) -> None:
        """Break the frames, or every so many of them, on purpose. Raise Usage."""
        self.wrong = wrong
        self.templates, self.order = wrong.break_all(self.templates, self.order, self.fields)
        self._check_lengths()

    def make_fields(self, number: int, workers: int) -> list[c.Struct]:
        """Make one worker's C structs of the fields; each points to the next in the chain."""
        return make_chain(self.fields, number, workers)

    def rates(self) -> Shape | None:
        """Return the rate over time; None: as fast as the port takes packets."""
        return self.shape or (Shape((self.rate,)) if self.rate else None)

    def asked(self, shape: Shape | None) -> Json:
        """Return what the run was asked for, by the fields of a result's `asked`, where its rate
        has that shape.
        """
        change = self.change or Change()
        return {
            "rate_pps": shape.rates[0] if shape and not shape.ramp() else None,
            "ramp": shape.ramp() if shape else None,
            "burst_size": shape.burst if shape and shape.burst > 1 else None,
            "poisson": bool(shape and shape.poisson),
            "size": str(self.sizes) if self.sizes else None,
            "vary": tuple(change.vary),
            "broken": tuple(map(str, self.wrong.breaks)),
            "break_every": self.wrong.every if self.wrong else None,
            "flows": change.flows,
            "zipf": change.zipf,
            "seed": self._seed(shape),
            "dry_run": self.dry,
        }

    def _seed(self, shape: Shape | None) -> int | None:
        """Return what is drawn from; None if nothing is."""
        if self.change and self.change.vary:
            return self.change.seed
        if self.sizes and self.sizes.drawn:
            return self.sizes.seed
        return shape.seed if shape and shape.poisson else None

    def mean(self) -> MeanSize:
        """Return the mean length of the frames."""
        lengths = [len(each.frame) for each in self.templates]
        order = self.order or range(len(lengths))
        least = 0 if self.wrong.has("runt") else FRAME_MIN
        return MeanSize.of([lengths[each] - self.fcs() for each in order], least)

    def fcs(self) -> int:
        """Return how many bytes of each frame are an FCS of its own."""
        return FCS if self.wrong.has("fcs") else 0

    def longest(self) -> int:
        """Return the length of the longest frame in bytes."""
        return max(len(each.frame) for each in self.templates)

    def stamp_at(self) -> int:
        """Return the signature's offset; 0 if there is none. Raises Usage if it has no room."""
        if not self.sequence:
            return 0
        for name in ("runt", "fcs"):
            if self.wrong.has(name):
                text = f"--break {name}: there is no room for a sequence number"
                raise Usage(text, "add --no-sequence")
        room = min(each.payload for each in self.templates)
        if room < SIGNATURE_BYTES:
            raise Usage(
                f"{room} bytes of payload are too few for a sequence number",
                "raise --size to 60, or add a payload to --packet: /('x'*18)",
            )
        at = min(len(each.frame) for each in self.templates) - SIGNATURE_BYTES
        if any(len(each.frame) - each.payload > at for each in self.templates):
            raise Usage(
                "the packets' payloads have no 18 bytes at the same place for a sequence number",
                "make them as long as each other, by --size or by the payload of --packet",
            )
        if any(each.writes(at, SIGNATURE_BYTES) for each in self.fields):
            raise Usage(
                f"--vary: bytes {at} to {at + SIGNATURE_BYTES} are for the sequence number",
                "leave the numbers out, --no-sequence, or make the packets longer by --size",
            )
        return at


def _differs(frame: bytes, longest: bytes) -> int:
    """Return where a frame becomes the same as the longest one, to its own end."""
    if frame == longest[: len(frame)]:
        return 0
    ours, theirs = (int.from_bytes(each[: len(frame)], "big") for each in (frame, longest))
    bits = ours ^ theirs
    return len(frame) - ((bits & -bits).bit_length() - 1) // 8


def make_secret() -> int:
    """Return 64 random bits, by which a run knows its signatures."""
    return int.from_bytes(os.urandom(8), "big")


class CTemplates:
    """The C side of a job's traffic. Lives as long as the job. `secret`: of its signatures, where
    other traffic has the same.
    """

    def __init__(self, traffic: Traffic, secret: int | None = None) -> None:
        self.stamp_at = traffic.stamp_at()
        self.count = len(traffic.templates)
        self.cycle = len(traffic.order) or self.count
        self.secret = make_secret() if secret is None else secret
        self.turn = new("uint64_t *")
        self.owned = Owned()
        self.order: c.Pointer[int] = ffi.NULL
        if traffic.order:
            self.order = self.owned.keep(new("uint32_t[]", list(traffic.order)))
        self._tables: dict[tuple[int, ...], c.Pointer[int]] = {}
        frames = [each.frame for each in traffic.templates]
        self.varies = bool(traffic.fields)
        if self.stamp_at and self.varies:
            zeros = bytes(SIGNATURE_BYTES)
            frames = [each.rebuild(self.stamp_at, zeros) for each in traffic.templates]
        self.c = self._array(frames)
        if self.stamp_at:
            self._follow(traffic.templates)
        self.head = self._head(frames, traffic.fields)
        self.filler = self.c + max(range(self.count), key=lambda at: len(frames[at]))

    def _head(self, frames: Sequence[bytes], fields: Sequence[Field]) -> int:
        """Return how many bytes of a frame differ from those of others, or are changed by fields or
        follow from a signature: or some more, of which whole words are copied. What is behind them
        is the longest frame's, as far as another one goes; where it isn't, return 0.
        """
        longest, shortest = max(frames, key=len), min(map(len, frames))
        ends = [each.head(len(longest)) for each in fields]
        ends += [each.check_at + CHECK_BYTES[each.check] for each in self.c]
        ends += [_differs(frame, longest) for frame in frames]
        head = -(-max(ends) // WORDS) * WORDS
        if len(frames) == 1:
            return min(head, shortest)
        return next((end for end in (head, max(ends)) if end <= shortest), 0)

    def _array(self, frames: list[bytes]) -> c.FrameTemplate:
        """Return an array of `struct frame_template`, one per frame, without checksums."""
        array = self.owned.keep(new("struct frame_template[]", len(frames)))
        memory = self.owned.keep(octets(b"".join(frames)))
        at = 0
        for each, frame in zip(array, frames, strict=True):
            each.frame, each.length = memory + at, len(frame)
            at += len(frame)
        return array

    def _follow(self, templates: Sequence[Template]) -> None:
        check: Check | None = None
        for made, template in zip(self.c, templates, strict=True):
            check = follow(template.rebuild, self.stamp_at, check)
            if check == NO_CHECK:
                continue
            made.check, made.check_at = check.kind, check.at
            made.base, made.zero = check.base, check.zero
            if check.kind == lib.CHECK_SUM and self.varies:
                made.check = lib.CHECK_ADD
            if check.swapped:
                made.base, made.turned = check.base >> 8 | (check.base & 0xFF) << 8, 1
            if check.crc:
                if check.crc not in self._tables:
                    self._tables[check.crc] = new("uint32_t[]", check.crc)
                made.crc = self._tables[check.crc]

    def lookup(self, traffic: Traffic) -> c.Lookup:
        """Return a `struct lookup` of the frames. Short ones are also found as a NIC pads them."""
        frames = {each.frame for each in traffic.templates}
        frames |= {frame.ljust(FRAME_MIN, b"\0") for frame in frames}
        count = 1 << (2 * len(frames)).bit_length()
        slots = self.owned.keep(new("uint32_t[]", count))
        array = self._array(sorted(frames))
        lookup = self.owned.keep(new("struct lookup *", (array, slots, count - 1)))
        for number in range(len(frames)):
            lib.lookup_add(lookup, number)
        return lookup
