# SPDX-License-Identifier: Apache-2.0
"""pktgen: sends copies of one frame, at a rate or as fast as the port takes them; with a receive
port, says what became of them on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uspnet.errors import Usage
from uspnet.fastpath import ffi, lib
from uspnet.frames import SIGNATURE_BYTES, l1_bits
from uspnet.jobs.job import Job, Limits, Plan
from uspnet.port import Driver

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


@dataclass
class Traffic:
    """What to send: `frame` without FCS, of which the last `payload` bytes are no headers; `rate`
    in packets a second (0: no limit); and whether each packet carries a sequence number and the
    time it was sent in its last 18 bytes.
    """

    frame: bytes
    payload: int
    rate: float = 0.0
    sequence: bool = False


class GenerateJob(Job):
    """Sends `traffic` into `port`; counts what comes back on `rx_port`, which may be the same."""

    def __init__(
        self, port: Driver, limits: Limits, traffic: Traffic, rx_port: Driver | None = None
    ) -> None:
        if not port.can_send:
            hint = f"give the port to send to; a file is replayed by: uspnet fwd {port.name} PORT"
            raise Usage(f"{port.name}: nothing can be sent there", hint)
        if rx_port and not rx_port.can_receive:
            raise Usage(f"{rx_port.name} can't receive", "give a port that packets come out of")
        if traffic.sequence and traffic.payload < SIGNATURE_BYTES:
            raise Usage(
                f"{traffic.payload} bytes of payload are too few for a sequence number",
                "raise --size to 60, or add a payload to --packet: /('x'*18)",
            )
        ports = [port] if rx_port in (None, port) else [port, rx_port]
        super().__init__("pktgen", ports, limits)
        self.port, self.rx_port, self.traffic = port, rx_port, traffic
        self.frame = ffi.from_buffer("uint8_t[]", traffic.frame)

    def execute(self) -> dict[str, Any]:
        """Runs to the end and returns what `--json` prints."""
        if len(self.traffic.frame) > self.port.frame and self.port.fixed_frame:
            raise Usage(
                f"{self.port.name} takes frames of at most {self.port.frame} bytes",
                "lower --size, or raise the interface's MTU",
            )
        senders, receivers = self._plans()
        self.plan(senders + receivers, len(self.traffic.frame))
        self.senders = [plan.worker for plan in senders]
        self.receivers = [plan.worker for plan in receivers]
        self.followers = self.receivers
        first = 0
        for worker in self.senders:
            self._set_up_sender(worker)
            worker.c.first_stream = first
            first += len(worker.lanes)
        for worker in self.receivers:
            self._set_up_receiver(worker)
        self._share_core()
        self.start()
        self.wait_until_up(self.ports)
        self.run()
        return self.result()

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

    def _set_up_sender(self, worker: Any) -> None:
        c, traffic = worker.c, self.traffic
        c.frame, c.frame_length = self.frame, len(traffic.frame)
        c.rate = traffic.rate / len(self.senders)
        c.stamp_at = len(traffic.frame) - SIGNATURE_BYTES if traffic.sequence else 0
        c.n_streams = len(worker.lanes)
        c.streams = self._streams(c.n_streams)

    def _set_up_receiver(self, worker: Any) -> None:
        c = worker.c
        c.stamp_at = len(self.traffic.frame) - SIGNATURE_BYTES
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
        c = self.receivers[0].c
        streams = [c.streams[i] for i in range(c.n_streams)]
        received = sum(int(stream.received) for stream in streams)
        return {
            "received": received,
            "lost": max(sent - received, 0),
            "duplicated": sum(int(stream.duplicated) for stream in streams),
            "reordered": sum(int(stream.reordered) for stream in streams),
            "stale": sum(int(stream.stale) for stream in streams),
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
