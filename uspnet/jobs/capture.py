# SPDX-License-Identifier: Apache-2.0
"""capture: every packet that enters a port, counted, and written to a file when there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.jobs.job import Job
from uspnet.jobs.loops import Drop, Forward
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import CaptureResult
from uspnet.jobs.route import Route
from uspnet.port import Port
from uspnet.ports.pcap.kinds import SNAPLEN_MAX

if TYPE_CHECKING:
    from uspnet.ports.pcap.sink import Sink


class CaptureJob(Job[CaptureResult]):
    """Receives from `port`; `sink`, when given, is the capture file's port."""

    def __init__(self, port: Port, limits: Limits, sink: Sink | None) -> None:
        if not port.can_receive:
            raise Usage(f"{port.name} can't receive", "give a port that packets come out of")
        super().__init__("capture", [port, *([sink] if sink else [])], limits)
        self.port, self.sink = port, sink
        if sink:
            sink.source = port

    def plans(self) -> list[Plan]:
        """Plan one worker per core, and at most one per receive queue."""
        used = self.cores[: self.port.queues]
        lanes: list[Route] = [
            ((self.port, i), [(self.sink, i)] if self.sink else []) for i in range(self.port.queues)
        ]
        kind = Forward if self.sink else Drop
        return [Plan(kind(), lanes[i :: len(used)], core) for i, core in enumerate(used)]

    def set_up(self) -> None:
        """Have packets time-stamped if a file is written."""
        for worker in self.workers:
            if self.sink:
                worker.stamp()

    def count(self) -> CaptureResult:
        """Return what was captured so far."""
        taken, drops = self.total("rx", "packets"), self.drops()
        common = self.common()
        return CaptureResult(
            **{**common, "ports": common["ports"][:1]},
            received=self.received(),
            filtered=0,
            written=self.total("tx", "packets"),
            dropped=sum(drops.values()),
            drops=drops,
            discarded=0 if self.sink else taken,
            files=[self.sink.target_name()] if self.sink else [],
            **self.rates(taken, self.total("rx", "bytes")),
        )


def make_sink(
    path: str, kind: str = "pcapng", snaplen: int = SNAPLEN_MAX, buffer_mib: int = 64
) -> Sink:
    """Return the port that writes to a capture file; `-` is stdout. Raises Usage."""
    from uspnet.ports.pcap.sink import Sink  # noqa: PLC0415 - only for those who write

    return Sink.make(out=path, format=kind, snaplen=snaplen, buffer=buffer_mib)
