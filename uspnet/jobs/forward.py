# SPDX-License-Identifier: Apache-2.0
"""fwd: every packet that enters one port leaves by the other, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.job import Job, Limits, Plan
from uspnet.port import Driver

MODES = {"io": lib.REWRITE_NONE, "macswap": lib.REWRITE_MACSWAP}
WHEN_FULL = {"drop": lib.FULL_DROP, "wait": lib.FULL_WAIT}


@dataclass
class Forwarding:
    """How fwd treats packets: `mode` rewrites them, `on_full` is what a full ring means."""

    mode: str = "io"
    on_full: str = "drop"


class ForwardJob(Job):
    """Forwards between two ports. Queue i of one goes to queue i of the other."""

    def __init__(self, ports: list[Driver], limits: Limits, how: Forwarding) -> None:
        if len(ports) != 2:
            raise Usage("fwd takes two ports", "uspnet fwd PORT PORT")
        super().__init__("fwd", ports, limits)
        self.how = how

    def execute(self) -> dict[str, Any]:
        """Runs to the end and returns what `--json` prints."""
        self.plan(self._plans())
        for plan in self.plans:
            plan.worker.c.rewrite = MODES[self.how.mode]
            plan.worker.c.full = WHEN_FULL[self.how.on_full]
            if any(not port.can_receive for port in self.ports):
                plan.worker.stamp()
        self.start()
        self.run()
        return self.result()

    def _plans(self) -> list[Plan]:
        a, b = self.ports
        count = min(a.queues, b.queues)
        lanes = []
        for index in range(count):
            if a.can_receive and b.can_send:
                lanes.append(((a, index), (b, index)))
            if b.can_receive and a.can_send:
                lanes.append(((b, index), (a, index)))
        if not lanes:
            raise Usage(f"nothing can pass between {a.name} and {b.name}", "turn one of them round")
        used = self.cores[: len(lanes)]
        self.plans = [
            Plan(lib.loop_forward, lanes[i :: len(used)], core) for i, core in enumerate(used)
        ]
        return self.plans

    def result(self) -> dict[str, Any]:
        """What was forwarded so far. received = forwarded + dropped (+ what still waits)."""
        elapsed = self.elapsed()
        forwarded, octets = self.total("tx", "packets"), self.total("tx", "bytes")
        return {
            "command": self.command,
            "elapsed_s": elapsed,
            "active_s": self.active(),
            "ports": self.port_rows(),
            "received": self.total("rx", "packets"),
            "forwarded": forwarded,
            "dropped": self.total("tx", "dropped"),
            "pps": forwarded / elapsed if elapsed else 0.0,
            "bps": octets * 8 / elapsed if elapsed else 0.0,
        }
