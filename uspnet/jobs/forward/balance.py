# SPDX-License-Identifier: Apache-2.0
"""`--mode balance`: the flows of the first port are spread over the others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from uspnet.answer import Json
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.forward.mode import Given, Mode
from uspnet.jobs.forward.result import Balanced
from uspnet.jobs.forward.ways import Ways, from_first, make_ways
from uspnet.jobs.route import Route
from uspnet.port import Port


@dataclass
class Balance(Ways, mode="balance"):
    """From the first port to the others, by flow, and back."""

    help: ClassVar[str] = "spreads the flows of the first port over the others"
    ports: ClassVar[range] = range(3, lib.WAYS_MAX + 1)

    @classmethod
    def routes(cls, ports: list[Port]) -> list[Route]:
        """Return the receive queues, with exits to every port."""
        return from_first(ports)

    @classmethod
    def make(cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Given) -> Mode:
        """Make the loop, and its order of ports for each bucket."""
        del given
        loop = cls(full=full, ways=make_ways(ports, lanes), n_ways=len(lanes))
        for bucket, order in enumerate(orders([port.name for port in ports])):
            at = bucket * lib.WAYS_MAX
            row = [*order, *[lib.NO_EXIT] * lib.WAYS_MAX][: lib.WAYS_MAX]
            loop.c.order[at : at + lib.WAYS_MAX] = row
        return loop

    def watched(self) -> Sequence[c.CData]:
        """Return what is counted beside the packets."""
        return [ffi.addressof(self.c, "rerouted")]

    def explain(
        self, packet: bytes, counted: int, dropped: str | None, exits: Sequence[str]
    ) -> list[str]:
        """Say whether the port is the one of the flow."""
        del packet, exits
        if dropped:
            return []
        return ["the port of its flow is down: rerouted" if counted else "by its flow, or back"]

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what was not sent where it would have been."""
        rerouted = sum(int(loop.c.rerouted) for loop in loops if isinstance(loop, cls))
        return {"balance": Balanced(rerouted=rerouted)}


def orders(names: Sequence[str]) -> Iterator[list[int]]:
    """Return the numbers of all ports but the first one, for each bucket in an order that depends
    on each port's name alone: with another set of ports, those in both keep their order. Of ports
    with the same name, each has a number beside.
    """
    before = [names[:at].count(name) for at, name in enumerate(names)]
    names = [f"{name} {n}" if n else name for n, name in zip(before, names, strict=True)]
    for bucket in range(lib.BUCKETS):
        scores = [
            hashlib.blake2b(f"{bucket} {name}".encode(errors="surrogateescape"), digest_size=8)
            for name in names
        ]
        yield sorted(range(1, len(names)), key=lambda at: scores[at].digest())
