# SPDX-License-Identifier: Apache-2.0
"""capture: what is left out on purpose, by what came before. What a loop remembers lies in shared
memory: it outlives the process that runs the loop.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.jobs.left_out import Deduplicated, FirstOfFlows, Sliced
from uspnet.memory import new
from uspnet.ports.pcap.kinds import Slice

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Dedup as CDedup
    from uspnet.fastpath._fastpath import First as CFirst
    from uspnet.ports.pcap.sink import Sink

FLOWS, FLOWS_MAX = 1 << 18, 1 << 24
LIMIT_MAX = 1 << 60  # packets, or bytes
IDLE_S, IDLE_MAX_S = 300.0, 86400.0 * 365
WINDOW_MIN_S, WINDOW_MAX_S = 1e-6, 3600.0
SEEN_LEAST, SEEN_MOST, SEEN_MAX = 1 << 15, 1 << 21, 1 << 27  # packets: by default, and at all
PPS = 10e6  # that a window is sized for
IGNORED = {"mac": lib.DEDUP_MAC, "ttl": lib.DEDUP_TTL}
ROOM = 2  # places in a table for each entry
NS = 1e9


@dataclass(frozen=True)
class First:
    """The first packets of each flow: `limit` of them, or those up to so many bytes. A flow that
    was silent for `idle` seconds has ended; 0: none has. `flows`: how many are known at once.
    """

    limit: int
    by_bytes: bool = False
    idle: float = IDLE_S
    flows: int = FLOWS

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range."""
        if not 1 <= self.limit <= LIMIT_MAX:
            raise Usage(f"--first {self.limit}: at least 1", "for example: --first 64/flow")
        if not 0 <= self.idle <= IDLE_MAX_S:
            raise Usage(f"--first: idle={self.idle:g}", f"seconds, 0 to {IDLE_MAX_S:.0f}")
        if not 1 <= self.flows <= FLOWS_MAX:
            raise Usage(f"--first: flows={self.flows}", f"flows, 1 to {FLOWS_MAX:,}")

    def __str__(self) -> str:
        words = [f"{self.limit}{'B' if self.by_bytes else ''}/flow"]
        words += [f"idle={self.idle:g}s"] * (self.idle != IDLE_S)
        words += [f"flows={self.flows}"] * (self.flows != FLOWS)
        return ",".join(words)

    def left_out(self) -> str:
        """Return in words what a capture lacks."""
        many = f"{self.limit:,} {'bytes' if self.by_bytes else 'packets'}"
        ends = f"; one that was silent for {self.idle:g} s has ended" if self.idle else ""
        return f"packets behind the first {many} of each flow, in both directions together{ends}"


@dataclass(frozen=True)
class Dedup:
    """No packet that is the same as one within `window` seconds; `ignore`: which parts of it may
    differ, of IGNORED. `packets`: how many are known at once; None: what comes in the window at
    10 Mpps, up to 2 M.
    """

    window: float
    ignore: tuple[str, ...] = ()
    packets: int | None = None

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range."""
        if not WINDOW_MIN_S <= self.window <= WINDOW_MAX_S:
            raise Usage(f"--dedup {self.window:g}", f"seconds, 1 us to {WINDOW_MAX_S:.0f}")
        if wrong := [each for each in self.ignore if each not in IGNORED]:
            text = f"--dedup: ignore={wrong[0]}: there is no such part"
            raise Usage(text, f"there are: {', '.join(IGNORED)}")
        if self.packets is not None and not 1 <= self.packets <= SEEN_MAX:
            raise Usage(f"--dedup: packets={self.packets}", f"packets, 1 to {SEEN_MAX:,}")

    def __str__(self) -> str:
        words = [f"{self.window * 1e3:g}ms"]
        words += [f"ignore={','.join(self.ignore)}"] * bool(self.ignore)
        words += [f"packets={self.packets}"] * (self.packets is not None)
        return ",".join(words)

    def places(self) -> int:
        """Return how many places the table has, a power of two."""
        packets = self.packets or min(max(round(self.window * PPS), SEEN_LEAST), SEEN_MOST)
        return max(1 << (ROOM * packets - 1).bit_length(), lib.DEDUP_PLACES)

    def left_out(self) -> str:
        """Return in words what a capture lacks."""
        but = f", whatever their {' and '.join(self.ignore)}" if self.ignore else ""
        return f"packets with the same bytes as one within {self.window * 1e3:g} ms before{but}"


@dataclass(frozen=True)
class Less:
    """What a capture leaves out of what its filter accepts: duplicates, and of each flow all but
    the first packets.
    """

    dedup: Dedup | None = None
    first: First | None = None

    def __bool__(self) -> bool:
        return bool(self.dedup or self.first)

    def texts(self) -> Json:
        """Return the options as they are written, by name."""
        return {name: str(each) for name, each in vars(self).items() if each}

    def options(self) -> str:
        """Return the names of the options that are given."""
        return ", ".join(f"--{name}" for name in self.texts())

    def said(self) -> tuple[str, ...]:
        """Return in words what a capture lacks."""
        return tuple(each.left_out() for each in (self.dedup, self.first) if each)


NOTHING = Less()


class Remembered:
    """What one worker remembers of packets."""

    def __init__(self, asked: Less) -> None:
        self.asked = asked
        self.dedup: CDedup | None = None
        self.first: CFirst | None = None
        self._owned = Owned()

    def make(self) -> Json:
        """Make the tables; return the members of the loop's struct that lead to them. Raises
        NoMemory.
        """
        if self.asked.dedup:
            self.dedup = self._packets(self.asked.dedup)
        if self.asked.first:
            self.first = self._flows(self.asked.first)
        both = {"dedup": self.dedup, "first": self.first}
        return {name: each for name, each in both.items() if each}

    def _packets(self, asked: Dedup) -> CDedup:
        made = self._owned.keep(new("struct dedup *"))
        made.n_seen = asked.places()
        made.seen = self._owned.keep(new("struct seen_packet[]", asked.places()))
        made.window = round(asked.window * NS)
        made.ignored = sum({IGNORED[name] for name in asked.ignore})
        made.secret = [secrets.randbits(64) for _ in made.secret]
        return made

    def _flows(self, asked: First) -> CFirst:
        places = 1 << (ROOM * asked.flows - 1).bit_length()
        made = self._owned.keep(new("struct first *"))
        made.flows, made.n_flows = self._owned.keep(new("struct first_flow[]", places)), places
        made.limit, made.by_bytes = asked.limit, asked.by_bytes
        made.idle, made.seed = round(asked.idle * NS), secrets.randbits(64)
        return made

    def told(self) -> Json:
        """Return the fields of a result: what was left out so far."""
        told: Json = {}
        if dedup := self.dedup:
            told["deduplicated"] = Deduplicated(
                packets=int(dedup.packets),
                bytes=int(dedup.bytes),
                forgotten=int(dedup.forgotten),
            )
        if first := self.first:
            told["first"] = FirstOfFlows(
                flows=int(first.begun),
                cut_flows=int(first.cut),
                packets=int(first.packets),
                bytes=int(first.bytes),
                forgotten=int(first.forgotten),
            )
        return told


def cuts(sink: Sink | None) -> str | None:
    """Return what a file has of each packet; None: it is all, or there is no file."""
    return sink.options.slice if sink and sink.options.slice != Slice.none else None


def sliced(sink: Sink | None) -> Sliced | None:
    """Return what was cut of packets so far; None: nothing was to be."""
    if not sink or not cuts(sink):
        return None
    rings = [ffi.cast("struct pcap_sink *", queue.c) for queue in sink.made]
    return Sliced(
        packets=sum(int(ring.sliced) for ring in rings),
        bytes=sum(int(ring.sliced_bytes) for ring in rings),
    )
