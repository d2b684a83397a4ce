# SPDX-License-Identifier: Apache-2.0
"""`attach --filter FILTER --to PORT`: some of the port's packets go elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from uspnet.answer import Json
from uspnet.fastpath import c, ffi
from uspnet.jobs.attach.result import Diverted
from uspnet.jobs.forward.mode import Mode
from uspnet.jobs.forward.ways import Ways, make_ways, to_partner
from uspnet.jobs.route import Route
from uspnet.packets.filter import Filter
from uspnet.port import Port

TO = 2  # the number of the port that accepted packets leave by


@dataclass(frozen=True)
class Diverting:
    """What is diverted. `only`: its filter; `tee`: it reaches the kernel as well."""

    only: Filter
    tee: bool = False


@dataclass
class Divert(Ways, name="divert"):
    """Between a port and the kernel, with a third port for what the filter accepts."""

    options: ClassVar[type] = Diverting
    ports: ClassVar[range] = range(3, 4)

    only: c.Filter = ffi.NULL
    to: int = TO
    tee: int = 0

    @classmethod
    def make(
        cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Diverting
    ) -> Mode:
        """Make the loop, with a filter of its own."""
        return cls(
            full=full,
            ways=make_ways(ports, lanes),
            n_ways=len(lanes),
            only=given.only.make(),
            tee=int(given.tee),
        )

    @classmethod
    def routes(cls, ports: list[Port]) -> list[Route]:
        """Return the receive queues, with exits to every port."""
        return to_partner(ports)

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what the filter has accepted."""
        parts = [loop for loop in loops if isinstance(loop, cls)]
        sums = {name: sum(int(getattr(each.c, name)) for each in parts)
                for name in ("packets", "bytes")}  # fmt: skip
        return {"diverted": Diverted(**sums)}
