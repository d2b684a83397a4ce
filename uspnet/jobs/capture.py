# SPDX-License-Identifier: Apache-2.0
"""capture: every packet that enters a port, counted, and written to a file when there is one."""

from __future__ import annotations

from typing import Any

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.job import Job, Limits, Plan
from uspnet.port import Driver, make_port


class CaptureJob(Job):
    """Receives from `port`; `sink`, when given, is the capture file's port."""

    def __init__(self, port: Driver, limits: Limits, sink: Driver | None) -> None:
        if not port.can_receive:
            raise Usage(f"{port.name} can't receive", "give a port that packets come out of")
        super().__init__("capture", [port, *([sink] if sink else [])], limits)
        self.port, self.sink = port, sink

    def execute(self) -> dict[str, Any]:
        """Runs to the end and returns what `--json` prints."""
        self.plan(self._plans())
        for worker in self.workers:
            if self.sink:
                worker.stamp()
        self.start()
        self.run()
        return self.result()

    def _plans(self) -> list[Plan]:
        used = self.cores[: self.port.queues]
        if self.sink:
            self.sink.queues = self.port.queues
        lanes = [((self.port, i), (self.sink, i) if self.sink else None)
                 for i in range(self.port.queues)]
        loop = lib.loop_forward if self.sink else lib.loop_drop
        return [Plan(loop, lanes[i :: len(used)], core) for i, core in enumerate(used)]

    def result(self) -> dict[str, Any]:
        """What was captured so far. received = filtered + written + dropped."""
        elapsed = self.elapsed()
        received, octets = self.total("rx", "packets"), self.total("rx", "bytes")
        dropped = self.total("tx", "dropped")
        return {
            "command": self.command,
            "elapsed_s": elapsed,
            "active_s": self.active(),
            "ports": self.port_rows()[:1],
            "received": received,
            "filtered": 0,
            "written": self.total("tx", "packets") if self.sink else 0,
            "dropped": dropped,
            "files": [self.sink.target_name()] if self.sink else [],
            "pps": received / elapsed if elapsed else 0.0,
            "bps": octets * 8 / elapsed if elapsed else 0.0,
        }


def make_sink(path: str, kind: str, snaplen: int, buffer_mib: int) -> Driver:
    """The port that writes to a capture file; `-` is stdout."""
    return make_port(f"pcap:out={path},format={kind},snaplen={snaplen},buffer={buffer_mib}")
