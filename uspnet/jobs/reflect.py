# SPDX-License-Identifier: Apache-2.0
"""reflect: every packet that enters a port leaves by it again, with its addresses exchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.choices import OnFull, Swap
from uspnet.jobs.forward.job import WHEN_FULL, shared_out
from uspnet.jobs.job import Job
from uspnet.jobs.loops import Forward
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import Asked, ReflectResult
from uspnet.jobs.route import Route
from uspnet.port import Port

SWAPS = {Swap.mac: lib.SWAP_MAC, Swap.ip: lib.SWAP_IP, Swap.port: lib.SWAP_PORT}


@dataclass
class Reflecting:
    """How reflect treats packets. `swap`: the addresses that are exchanged, with those before them;
    `groups`: whether frames from or to group addresses are reflected, too; `on_full`: what a full
    ring means.
    """

    swap: Swap = Swap.mac
    groups: bool = False
    on_full: OnFull = OnFull.drop


@dataclass
class Reflect(Forward, name="reflect"):
    """Packets leave by their own port. `swap`: lib.SWAP_MAC, SWAP_IP or SWAP_PORT."""

    swap: int = lib.SWAP_MAC
    groups: int = 0


class ReflectJob(Job[ReflectResult]):
    """Sends back what a port receives."""

    def __init__(self, port: Port, limits: Limits, how: Reflecting) -> None:
        """Raise Usage for a port of one direction."""
        if not (port.can_receive and port.can_send):
            lacks = "receive" if port.can_send else "send"
            hint = (
                "name one that does both; a file is replayed by: uspnet pktgen PORT --replay FILE"
            )
            raise Usage(f"{port.name} can't {lacks}", hint)
        super().__init__("reflect", [port], limits)
        self.port, self.how = port, how

    def plans(self) -> list[Plan]:
        """Plan the workers: what a queue receives leaves by the queue of the same number or, where
        fewer can send, by one that several share.
        """
        how, port = self.how, self.port
        routes: list[list[Route]] = [
            [((port, i), [(port, exit_)]) for i in range(exit_, port.queues, port.tx_queues)]
            for exit_ in range(port.tx_queues)
        ]
        return [
            Plan(Reflect(WHEN_FULL[how.on_full], SWAPS[how.swap], int(how.groups)), lanes, core)
            for lanes, core in shared_out(routes, self.cores)
        ]

    def asked(self) -> Asked:
        """Return what the run was asked for."""
        return replace(super().asked(), swap=self.how.swap.value)

    def count(self) -> ReflectResult:
        """Return what was reflected so far."""
        reflected, drops = self.total("tx", "packets"), self.drops()
        return ReflectResult(
            **self.common(),
            received=self.received(),
            reflected=reflected,
            dropped=sum(drops.values()),
            drops=drops,
            **self.rates(reflected, self.total("tx", "bytes")),
        )
