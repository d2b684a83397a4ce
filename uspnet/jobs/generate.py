# SPDX-License-Identifier: Apache-2.0
"""pktgen: sends one frame again and again, or several in turn, at a rate or as fast as the port
takes them; with a receive port, says what became of them on the way.
"""

from __future__ import annotations

import time
from typing import Any

from uspnet.errors import DeviceFault, Usage
from uspnet.fastpath import ffi, lib
from uspnet.jobs.job import Job, Limits, Plan
from uspnet.jobs.traffic import CTemplates, Traffic
from uspnet.packets.frames import l1_bits, vlan_tags
from uspnet.port import Port
from uspnet.telemetry import reasons_text

COUNT_MAX = 2**63 - 1  # packets; no run ever gets there
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


class GenerateJob(Job):
    """Sends `traffic` into `port`; counts what comes back on `rx_port`, which may be the same."""

    def __init__(
        self, port: Port, limits: Limits, traffic: Traffic, rx_port: Port | None = None
    ) -> None:
        if not port.can_send:
            hint = f"give the port to send to; a file is replayed by: uspnet fwd {port.name} PORT"
            raise Usage(f"{port.name}: nothing can be sent there", hint)
        if rx_port and not rx_port.can_receive:
            raise Usage(f"{rx_port.name} can't receive", "give a port that packets come out of")
        ports = [port] if rx_port in (None, port) else [port, rx_port]
        self.templates = CTemplates(traffic)
        super().__init__("pktgen", ports, limits)
        self.port, self.rx_port, self.traffic = port, rx_port, traffic
        self.senders: list[Any] = []
        self.receivers: list[Any] = []

    def execute(self) -> dict[str, Any]:
        """Runs to the end and returns what `--json` prints. Raises DeviceFault when nothing at all
        could be sent.
        """
        for template in self.traffic.templates:
            self._check_length(template.frame)
        senders, receivers = self._plans()
        self.plan(senders + receivers, self.traffic.longest())
        self.senders = [plan.worker for plan in senders]
        self.receivers = [plan.worker for plan in receivers]
        self.followers = self.receivers
        first = 0
        for number, worker in enumerate(self.senders):
            self._set_up_sender(worker, number)
            worker.c.first_stream = first
            first += len(worker.lanes)
        for worker in self.receivers:
            self._set_up_receiver(worker)
        self._share_core()
        self.start()
        self.wait_until_up(self.ports)
        self.run()
        return self._checked(self.result())

    def _check_length(self, frame: bytes) -> None:
        """Refuses what the port can't send before anything is sent."""
        most, remedy = self.port.send_limit(vlan_tags(frame))
        if len(frame) > most:
            raise Usage(
                f"{self.port.name} takes frames of at most {most:,} bytes, and this one has "
                f"{len(frame):,}; neither counts the 4 bytes of FCS",
                f"lower --size, or raise the limit: {remedy}",
            )

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        """A run that sent nothing of what it should has failed."""
        asked = result["offered"] or not self.traffic.rate
        if result["sent"] or self.stopped_by or not asked:
            return result
        reasons = f" (dropped: {reasons_text(result['drops'])})" if result["drops"] else ""
        error = DeviceFault(
            f"{self.port.name}: nothing was sent{reasons}",
            f"see: uspnet doctor {self.port.name}",
        )
        error.partial = result
        raise error

    def _plans(self) -> tuple[list[Plan], list[Plan]]:
        used = self.cores[: self.port.queues]
        lanes = [(None, (self.port, index)) for index in range(self.port.queues)]
        senders = [
            Plan(lib.loop_generate, lanes[i :: len(used)], core) for i, core in enumerate(used)
        ]
        if not self.rx_port:
            return senders, []
        core = self.cores[len(used) % len(self.cores)]
        back = [((self.rx_port, index), None) for index in range(self.rx_port.queues)]
        return senders, [Plan(lib.loop_measure, back, core)]

    def _share_core(self) -> None:
        """Without a core for it, the receiver runs in the first sender's thread: two threads that
        spin on one core would take turns of milliseconds.
        """
        if self.receivers and len(self.cores) <= len(self.senders):
            self.guests = list(self.receivers)
            self.senders[0].c.guest = self.receivers[0].c

    def _streams(self, count: int) -> Any:
        streams = ffi.new("struct stream[]", count)
        self.undo.callback(lambda: streams)  # alive as long as the job
        return streams

    def _set_up_sender(self, worker: Any, number: int) -> None:
        c, templates, traffic, senders = worker.c, self.templates, self.traffic, len(self.senders)
        c.templates, c.n_templates = templates.c, templates.count
        c.turn, c.stamp_at, c.secret = templates.turn, templates.stamp_at, templates.secret
        c.rate, c.seconds = traffic.rate / senders, self.limits.duration or 0.0
        in_all = min(round(traffic.rate * c.seconds), COUNT_MAX)
        c.total = in_all // senders + (number < in_all % senders)
        c.n_streams = len(worker.lanes)
        c.streams = self._streams(c.n_streams)

    def _set_up_receiver(self, worker: Any) -> None:
        c, templates = worker.c, self.templates
        c.stamp_at, c.secret, c.began = templates.stamp_at, templates.secret, time.monotonic_ns()
        if not self.traffic.sequence:
            worker.keep.append(templates.lookup(self.traffic))
            c.lookup = worker.keep[-1]
        c.n_streams = self.port.queues
        c.streams = self._streams(c.n_streams)
        worker.histogram = ffi.new("uint64_t[]", lib.HISTOGRAM_SLOTS)
        c.histogram = worker.histogram

    def result(self) -> dict[str, Any]:
        """What was sent so far. offered = sent + unsent, in which is what was dropped; sent =
        received + lost.
        """
        sent, octets = self.total("tx", "packets"), self.total("tx", "bytes")
        offered = sum(int(worker.c.offered) for worker in self.senders)
        drops, elapsed = self.drops("tx"), self.elapsed()
        return {
            **self.common(),
            "offered": max(offered, sent),
            "sent": sent,
            "unsent": max(offered - sent, 0),
            "dropped": sum(drops.values()),
            "drops": drops,
            "found_ring_full": self.total("tx", "stalled"),
            **self.rates(sent, octets),
            "l1_bps": l1_bits(sent, octets) / elapsed if elapsed else 0.0,
            **(self._returned(sent) if self.rx_port else {}),
        }

    def _returned(self, sent: int) -> dict[str, Any]:
        """What came back. Without numbers in them, packets can only be counted."""
        c = self.receivers[0].c
        counts: dict[str, int | None] = dict.fromkeys(("duplicated", "reordered", "stale"))
        if self.traffic.sequence:
            streams = [c.streams[i] for i in range(c.n_streams)]
            received = sum(int(stream.received) for stream in streams)
            counts = {name: sum(int(getattr(each, name)) for each in streams) for name in counts}
        else:
            received = int(c.lookup.received)
        return {
            "received": received,
            "lost": max(sent - received, 0),
            **counts,
            "foreign": int(c.unsigned_packets),
            "latency_ns": latencies(self.receivers[0].histogram),
        }


def latencies(histogram: Any) -> dict[str, int] | None:
    """Percentiles of a C latency histogram in ns, each to 3 %; None when it is empty."""
    counts = list(histogram)
    total = sum(counts)
    if not total:
        return None
    used = [slot for slot, count in enumerate(counts) if count]
    result = {"min": int(lib.histogram_floor(used[0]))}
    for name, share in PERCENTILES.items():
        seen = 0
        for slot in used:
            seen += counts[slot]
            if seen >= share * total:
                result[name] = int(lib.histogram_floor(slot))
                break
    result["max"] = int(lib.histogram_floor(used[-1]))
    return result
