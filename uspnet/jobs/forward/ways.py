# SPDX-License-Identifier: Apache-2.0
"""Modes among several ports: every lane knows which of its exits leads to which port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.forward.mode import Mode
from uspnet.jobs.route import Route
from uspnet.memory import new
from uspnet.port import Port


@dataclass
class Ways(Mode):
    """The base of such modes: `struct ways_loop`."""

    ports: ClassVar[range] = range(2, lib.WAYS_MAX + 1)
    ahead: ClassVar[bool] = True
    mirrors: ClassVar[bool] = True

    ways: c.Ways = ffi.NULL
    n_ways: int = 0


def make_ways(ports: Sequence[Port], lanes: Sequence[Route]) -> c.Ways:
    """Return an array of `struct ways`: of each lane, which exit leads to which port. An exit to a
    port that is none of them is the mirror's.
    """
    made: c.Ways = new("struct ways[]", len(lanes))
    for each, (source, exits) in zip(made, lanes, strict=True):
        each.exits[0 : lib.WAYS_MAX] = [lib.NO_EXIT] * lib.WAYS_MAX
        each.mirror = lib.NO_EXIT
        if source:
            each.port = ports.index(source[0])
            each.other = 0 if each.port else 1
        for number, (sink, _) in enumerate(exits):
            if sink in ports:
                each.exits[ports.index(sink)] = number
            else:
                each.mirror = number
    return made


def sources(ports: Sequence[Port]) -> list[Port]:
    """Return the ports that packets are received from. One that makes packets without end is a
    dump, unless it is the first of them, or one of two.
    """
    return [
        port
        for port in ports
        if port.can_receive and (not port.endless or port is ports[0] or len(ports) == 2)
    ]


def all_to_all(ports: Sequence[Port]) -> list[Route]:
    """Return each receive queue, with one exit to every other port: its first queue, so that one
    worker has them all.
    """
    return [
        ((source, index), [(sink, 0) for sink in ports if sink is not source and sink.can_send])
        for source in sources(ports)
        for index in range(source.queues)
    ]


def to_every(ports: Sequence[Port]) -> list[Route]:
    """Return each receive queue, with an exit to every port, also its own: queue i, or one that
    several share.
    """
    return [
        ((source, i), [(sink, i % sink.tx_queues) for sink in ports if sink.can_send])
        for source in sources(ports)
        if any(sink.can_send for sink in ports)
        for i in range(source.queues)
    ]


def to_partner(ports: Sequence[Port]) -> list[Route]:
    """Return the receive queues of the first port, and of the others whose partner it is, as
    `to_every` does.
    """
    return [
        (source, exits)
        for source, exits in to_every(ports)
        if source and (ports[1] if source[0] is ports[0] else ports[0]).can_send
    ]


def from_first(ports: Sequence[Port]) -> list[Route]:
    """Return the receive queues of the first port, and of the others where it can send, as
    `to_every` does: packets of the first one may leave by any of them.
    """
    first = ports[0]
    return [
        (source, exits)
        for source, exits in to_every(ports)
        if source and (source[0] is first or first.can_send)
    ]


def find_port(word: str, ports: Sequence[Port]) -> int | None:
    """Return the port that a word means: its name, its spec, or its number from 1 on."""
    for number, port in enumerate(ports):
        if word in {port.name, str(port.spec), str(number + 1)}:
            return number
    return None
