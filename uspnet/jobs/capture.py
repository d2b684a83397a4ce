# SPDX-License-Identifier: Apache-2.0
"""capture: the packets that enter ports, all or those that a filter accepts, counted, and written
to a file when there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.fastpath import ffi
from uspnet.jobs.job import Job
from uspnet.jobs.less import NOTHING, Less, Remembered, cuts, sliced
from uspnet.jobs.loops import Drop, Forward, Loop
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import Asked, CaptureResult, FileBuffer
from uspnet.jobs.route import End, Route
from uspnet.memory import new
from uspnet.port import Port
from uspnet.ports.job import JobPort
from uspnet.ports.pcap.fill import fill
from uspnet.ports.pcap.kinds import SNAPLEN_MAX
from uspnet.ports.pcap.ways import writing

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Dedup as CDedup
    from uspnet.fastpath._fastpath import Filter as CFilter
    from uspnet.fastpath._fastpath import First as CFirst
    from uspnet.fastpath._fastpath import LaneFilter as CLaneFilter
    from uspnet.jobs.worker import Lane
    from uspnet.packets.filter import Filter
    from uspnet.ports.pcap.rotation import Rotation
    from uspnet.ports.pcap.sink import Sink


@dataclass
class Chosen(Forward, name="capture"):
    """Packets that are wanted leave as they came, or are counted: those that `only` accepts, of
    them those that are no duplicates, and of these the first ones of each flow. Others are
    `filtered`, `duplicate` or `beyond_first`.
    """

    only: CFilter = ffi.NULL
    each: CLaneFilter = ffi.NULL  # of lanes that have their own
    n_each: int = 0
    dedup: CDedup = ffi.NULL
    first: CFirst = ffi.NULL

    def __post_init__(self) -> None:
        super().__post_init__()
        self.filters: list[CFilter] = []  # that `each` leads to

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return the packets that were wanted: others don't count."""
        return sum(int(lane.rx.counters.packets) for lane in lanes if lane.rx)


@dataclass(frozen=True)
class Own:
    """What one of several ports has of its own: a filter, or the bytes to keep of a packet."""

    only: Filter | None = None  # None: that of all
    snaplen: int = 0  # 0: that of all


class CaptureJob(Job[CaptureResult]):
    """Receives from a port, or from several; `sink`, when given, is the capture file's port.
    `only`: the filter of what is captured; `less`: what is left out of that; `own`: of each port,
    in their order, or nothing. Raises Usage.
    """

    def __init__(  # noqa: PLR0913 - what a capture is
        self,
        port: Port | Sequence[Port],
        limits: Limits,
        sink: Sink | None,
        only: Filter | None = None,
        less: Less = NOTHING,
        own: Sequence[Own] = (),
    ) -> None:
        ports = [port] if isinstance(port, Port) else list(port)
        if mute := next((each for each in ports if not each.can_receive), None):
            raise Usage(f"{mute.name} can't receive", "give a port that packets come out of")
        if less and len(limits.cores or ()) > 1:
            text = f"{less.options()}: one thread has to see all packets"
            raise Usage(text, "give one core: --cores 1")
        super().__init__("capture", [*ports, *([sink] if sink else [])], limits)
        self.sources, self.sink, self.only = ports, sink, only
        self.less = Remembered(less)
        self.own = own if any(each.only or each.snaplen for each in own) else ()
        self.filters = [each.only or only for each in self.own or [Own()] * len(ports)]
        if sink:
            sink.source, sink.sources = ports[0] if len(ports) == 1 else None, ports
            text, left_out = _text(only), less.said()
            if sink.options.format != "pcapng" and any(map(_drops, ports)):
                text = f"{sink.options.format} files have no comments, and so no reasons of drops"
                raise Usage(text, "write pcapng: drop -F")
            pairs = zip(self.filters, self.own, strict=False)
            each = tuple((_text(only_of), of.snaplen) for only_of, of in pairs)
            sink.making = replace(
                sink.making, only=text, burst=limits.burst, left_out=left_out, each=each
            )
        elif any(each.snaplen for each in own):
            raise Usage("snaplen= needs a file", "add -w FILE, or drop snaplen=")

    def plans(self) -> list[Plan]:
        """Plan one worker per core, and at most one per receive queue."""
        sources = [(port, index) for port in self.sources for index in range(port.queues)]
        used = self.cores[: len(sources)]
        lanes: list[Route] = [
            (source, [(self.sink, number)] if self.sink else [])
            for number, source in enumerate(sources)
        ]
        return [
            Plan(self._loop(sources[i :: len(used)]), lanes[i :: len(used)], core)
            for i, core in enumerate(used)
        ]

    def _loop(self, sources: Sequence[End]) -> Loop:
        if not any(self.filters) and not self.less.asked:
            return Forward() if self.sink else Drop()
        if not self.own:
            only = self.only.make() if self.only else ffi.NULL
            return Chosen(only=only, **self.less.make())
        each = new("struct lane_filter[]", len(sources))
        loop = Chosen(each=each, n_each=len(sources), **self.less.make())
        loop.filters = [only.make() if only else ffi.NULL for only in self.filters]
        for lane, (port, _) in zip(each, sources, strict=True):
            lane.only = loop.filters[self.sources.index(port)]
        return loop

    def set_up(self) -> None:
        """Have packets time-stamped if a file is written, or flows have an age; a filter gets their
        lengths on the wire, which files know. What a port knows besides is for pcapng alone.
        """
        for number, port in enumerate(self.sources):
            if self.sink and self.sink.options.format == "pcapng" and isinstance(port, JobPort):
                port.note(number)
        for worker in self.workers:
            asks = any(only and only.asks_length for only in self.filters)
            if (
                self.sink
                or self.less.asked
                or (asks and any(port.knows_origins for port in self.sources))
            ):
                worker.stamp()

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        filters = tuple(_text(only) for only in self.filters) if self.own else ()
        text = self.only.text if self.only else None
        asked = replace(super().asked(), filter=text, filters=filters)
        return replace(asked, **self.less.asked.texts(), slice=cuts(self.sink))

    def count(self) -> CaptureResult:
        """Return what was captured so far."""
        taken, drops = self.total("rx", "packets"), self.drops()
        if held := getattr(self.sink, "waiting", lambda: 0)():
            drops["untriggered"] = drops.get("untriggered", 0) + held
        now = fill(self.sink)
        filtered, common = drops.pop("filtered", 0), self.common()
        return CaptureResult(
            **{**common, "ports": common["ports"][: len(self.sources)]},
            received=self.received(),
            filtered=filtered,
            written=self.total("tx", "packets") - held,
            dropped=sum(drops.values()),
            drops=drops,
            discarded=0 if self.sink else taken,
            files=self.sink.target_names() if self.sink else [],
            triggered_ns=getattr(self.sink, "triggered_ns", None),
            deleted_files=getattr(self.sink, "deleted", 0),
            deleted_packets=getattr(self.sink, "deleted_packets", 0),
            **self.less.told(),
            sliced=sliced(self.sink),
            writing=writing(self.sink),
            buffer=FileBuffer(full=now[0], passed_bytes=now[1]) if now else None,
            **self.rates(taken, self.total("rx", "bytes")),
        )


def _drops(port: Port) -> bool:
    return isinstance(port, JobPort) and port.options.dropped


def _text(only: Filter | None) -> str:
    return only.text if only else ""


def make_sink(
    path: str,
    kind: str = "pcapng",
    snaplen: int = SNAPLEN_MAX,
    buffer_mib: int = 64,
    rotation: Rotation | None = None,
    **options: object,
) -> Sink:
    """Return the port that writes to a capture file; `-` is stdout. `rotation`: when a file
    ends; `options` are further ones of the port. Raises Usage.
    """
    from uspnet.ports.pcap.ring import Ring  # noqa: PLC0415 - only for those who write
    from uspnet.ports.pcap.sink import Sink  # noqa: PLC0415

    options = {"format": kind, "snaplen": snaplen, "buffer": buffer_mib, **options}
    if rotation:
        ring = Ring.make("", out=path, **options)
        ring.rotate(rotation)
        return ring
    return Sink.make("", out=path, **options)
