# SPDX-License-Identifier: Apache-2.0
"""fwd: every packet that enters one port leaves by the other, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.jobs.job import End, Job, Limits, Plan, Route
from uspnet.jobs.loops import Forward, Macswap
from uspnet.port import Port
from uspnet.telemetry import reasons_text

MODES = {"io": Forward, "macswap": Macswap}
WHEN_FULL = {"drop": lib.FULL_DROP, "wait": lib.FULL_WAIT}


@dataclass
class Forwarding:
    """How fwd treats packets: `mode` rewrites them, `on_full` is what a full ring means."""

    mode: str = "io"
    on_full: str = "drop"


class ForwardJob(Job):
    """Forwards between two ports. Queue i of one goes to queue i of the other; where that has
    fewer, several share one.
    """

    def __init__(self, ports: list[Port], limits: Limits, how: Forwarding) -> None:
        if len(ports) != 2:
            raise Usage("fwd takes two ports", "uspnet fwd PORT PORT")
        super().__init__("fwd", ports, limits)
        for port, other in (ports, ports[::-1]):
            if other.can_receive and port.can_send:
                port.fed_by(other)
        self.how = how

    def execute(self) -> dict[str, Any]:
        """Runs to the end and returns what `--json` prints. Raises NotSupported when not one packet
        of a file could be forwarded.
        """
        self.plan(self._plans())
        for plan in self.plans:
            if any(not port.can_receive for port in self.ports):
                plan.worker.stamp()
        self.start()
        self.run()
        return self._checked(self.result())

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        from_file = any(not port.can_send for port in self.ports)
        if result["forwarded"] or not result["dropped"] or self.stopped_by or not from_file:
            return result
        reasons = reasons_text(result["drops"])
        error = NotSupported(
            f"none of {result['received']:,} packets could be forwarded ({reasons})",
            "see which frames the other port takes: its mtu= or frame= option, or: ip link",
        )
        error.partial = result
        raise error

    def _plans(self) -> list[Plan]:
        """A transmit queue belongs to one worker, with every lane that leaves by it."""
        a, b = self.ports
        ways = [(x, y) for x, y in ((a, b), (b, a)) if x.can_receive and y.can_send]
        if not ways:
            raise Usage(
                f"nothing can pass between {a.name} and {b.name}",
                "one has to be read and one written: pcap:FILE and pcap:out=FILE",
            )
        groups: dict[End, list[Route]] = {}
        for index in range(max(a.queues, b.queues)):
            for source, sink in ways:
                if index < source.queues:
                    leaves_by = (sink, index % sink.queues)
                    groups.setdefault(leaves_by, []).append(((source, index), [leaves_by]))
        used = self.cores[: len(groups)]
        shares = [list(groups.values())[i :: len(used)] for i in range(len(used))]
        mode, full = MODES[self.how.mode], WHEN_FULL[self.how.on_full]
        self.plans = [
            Plan(mode(full=full), [lane for group in share for lane in group], core)
            for share, core in zip(shares, used, strict=True)
        ]
        return self.plans

    def result(self) -> dict[str, Any]:
        """What was forwarded so far. received = forwarded + dropped (+ what still waits)."""
        forwarded, drops = self.total("tx", "packets"), self.drops()
        return {
            **self.common(),
            "received": self.received(),
            "forwarded": forwarded,
            "dropped": sum(drops.values()),
            "drops": drops,
            **self.rates(forwarded, self.total("tx", "bytes")),
        }
