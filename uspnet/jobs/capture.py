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
from uspnet.jobs.result import Asked, CaptureResult
from uspnet.jobs.route import Route
from uspnet.port import Port
from uspnet.ports.pcap.kinds import SNAPLEN_MAX
from uspnet.ports.pcap.ways import writing

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Dedup as CDedup
    from uspnet.fastpath._fastpath import Filter as CFilter
    from uspnet.fastpath._fastpath import First as CFirst
    from uspnet.jobs.worker import Lane
    from uspnet.packets.filter import Filter
    from uspnet.ports.pcap.ring import Rotation
    from uspnet.ports.pcap.sink import Sink


@dataclass
class Chosen(Forward, name="capture"):
    """Packets that are wanted leave as they came, or are counted: those that `only` accepts, of
    them those that are no duplicates, and of these the first ones of each flow. Others are
    `filtered`, `duplicate` or `beyond_first`.
    """

    only: CFilter = ffi.NULL
    dedup: CDedup = ffi.NULL
    first: CFirst = ffi.NULL

    def claimed(self, lanes: Sequence[Lane]) -> int:
        """Return the packets that were wanted: others don't count."""
        return sum(int(lane.rx.counters.packets) for lane in lanes if lane.rx)


class CaptureJob(Job[CaptureResult]):
    """Receives from a port, or from several; `sink`, when given, is the capture file's port.
    `only`: the filter of what is captured; `less`: what is left out of that. Raises Usage.
    """

    def __init__(
        self,
        port: Port | Sequence[Port],
        limits: Limits,
        sink: Sink | None,
        only: Filter | None = None,
        less: Less = NOTHING,
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
        if sink:
            sink.source, sink.sources = ports[0] if len(ports) == 1 else None, ports
            text = only.text if only else ""
            left_out = less.said()
            sink.making = replace(sink.making, only=text, burst=limits.burst, left_out=left_out)

    def plans(self) -> list[Plan]:
        """Plan one worker per core, and at most one per receive queue."""
        sources = [(port, index) for port in self.sources for index in range(port.queues)]
        used = self.cores[: len(sources)]
        lanes: list[Route] = [
            (source, [(self.sink, number)] if self.sink else [])
            for number, source in enumerate(sources)
        ]
        return [Plan(self._loop(), lanes[i :: len(used)], core) for i, core in enumerate(used)]

    def _loop(self) -> Loop:
        if self.only or self.less.asked:
            only = self.only.make() if self.only else ffi.NULL
            return Chosen(only=only, **self.less.make())
        return Forward() if self.sink else Drop()

    def set_up(self) -> None:
        """Have packets time-stamped if a file is written, or flows have an age; a filter gets their
        lengths on the wire, which files know.
        """
        for worker in self.workers:
            asks = self.only and self.only.asks_length
            if (
                self.sink
                or self.less.asked
                or (asks and any(port.knows_origins for port in self.sources))
            ):
                worker.stamp()

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        asked = replace(super().asked(), filter=self.only.text if self.only else None)
        return replace(asked, **self.less.asked.texts(), slice=cuts(self.sink))

    def count(self) -> CaptureResult:
        """Return what was captured so far."""
        taken, drops = self.total("rx", "packets"), self.drops()
        if held := getattr(self.sink, "waiting", lambda: 0)():
            drops["untriggered"] = drops.get("untriggered", 0) + held
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
            **self.rates(taken, self.total("rx", "bytes")),
        )


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
