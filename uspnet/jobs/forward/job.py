# SPDX-License-Identifier: Apache-2.0
"""fwd: every packet that enters one port leaves by the other, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.jobs.forward.mode import find_mode
from uspnet.jobs.job import Job, Limits, Plan
from uspnet.jobs.route import owners
from uspnet.port import Port
from uspnet.telemetry import reasons_text

WHEN_FULL = {"drop": lib.FULL_DROP, "wait": lib.FULL_WAIT}


@dataclass
class Forwarding:
    """How fwd treats packets: `mode` rewrites them, `on_full` is what a full ring means."""

    mode: str = "io"
    on_full: str = "drop"


class ForwardJob(Job):
    """Forwards between ports, as its mode decides."""

    def __init__(self, ports: list[Port], limits: Limits, how: Forwarding) -> None:
        self.mode = find_mode(how.mode, len(ports))
        super().__init__("fwd", ports, limits)
        for port in ports:
            sources = [other for other in ports if other is not port and other.can_receive]
            if port.can_send and len(sources) == 1:
                port.fed_by(sources[0])
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
        routes = self.mode.routes(self.ports)
        if not routes:
            names = " and ".join(port.name for port in self.ports)
            raise Usage(
                f"nothing can pass between {names}",
                "one has to be read and one written: pcap:FILE and pcap:out=FILE",
            )
        groups = owners(routes)
        used = self.cores[: len(groups)]
        shares = [groups[i :: len(used)] for i in range(len(used))]
        full = WHEN_FULL[self.how.on_full]
        self.plans = [
            Plan(self.mode(full=full), [lane for group in share for lane in group], core)
            for share, core in zip(shares, used, strict=True)
        ]
        return self.plans

    def result(self) -> dict[str, Any]:
        """What was forwarded so far. received + copied = forwarded + dropped (+ what still waits);
        `copied`: packets that a mode sent by a further port.
        """
        forwarded, drops = self.total("tx", "packets"), self.drops()
        return {
            **self.common(),
            "received": self.received(),
            "copied": self.total("tx", "copied"),
            "forwarded": forwarded,
            "dropped": sum(drops.values()),
            "drops": drops,
            **self.rates(forwarded, self.total("tx", "bytes")),
        }
