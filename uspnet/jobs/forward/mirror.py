# SPDX-License-Identifier: Apache-2.0
"""`--mirror PORT`: copies of all packets that are received leave by a further port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from uspnet.errors import Usage
from uspnet.jobs.forward.io import Io
from uspnet.jobs.forward.mode import Given, Mode, modes
from uspnet.jobs.forward.ways import Ways, make_ways
from uspnet.jobs.route import Route
from uspnet.port import Port


@dataclass
class Mirrored(Ways, name="mirror", struct="ways_loop"):
    """What stands for `--mode io`: between two ports, both ways."""

    ports: ClassVar[range] = Io.ports

    @classmethod
    def make(cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Given) -> Mode:
        """Make the loop."""
        del given
        return cls(full=full, ways=make_ways(ports, lanes), n_ways=len(lanes))


def with_mirror(mode: type[Mode], mirror: Port) -> type[Mode]:
    """Return the mode that does the same and mirrors. Raises Usage if there is none."""
    if not mirror.can_send:
        raise Usage(f"{mirror.name} sends nothing", "mirror to another port, or pcap:out=FILE")
    if mode is Io:
        return Mirrored
    if not mode.mirrors:
        able = ", ".join(["io", *(name for name, each in modes().items() if each.mirrors)])
        raise Usage("this mode takes no --mirror", f"modes that do are: {able}")
    return mode


def to_mirror(routes: Sequence[Route], mirror: Port) -> list[Route]:
    """Return routes with a further exit each: queue i of the mirror, or one that several share."""
    return [
        (source, [*exits, (mirror, source[1] % mirror.tx_queues if source else 0)])
        for source, exits in routes
    ]
