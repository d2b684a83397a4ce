# SPDX-License-Identifier: Apache-2.0
"""Packets with so many values in their fields, `dst="10.0.0.0/8"`, that a field program plays them
in Scapy's order: a field advances when those that are faster begin again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.packets.fields.program import WORD, Program, sample
from uspnet.packets.frames import Template
from uspnet.packets.resize import Checks, following
from uspnet.packets.several import Several, several
from uspnet.packets.vary.change import Change, Turn
from uspnet.packets.vary.compiler import compile_program
from uspnet.packets.vary.domain import IP6
from uspnet.packets.vary.place import notation_of

if TYPE_CHECKING:
    from scapy.packet import Packet

Build = Callable[["Packet"], Template]

FEW = 64  # packets that are made one by one
CHECKED = 16  # packets in a row that are checked


@dataclass(frozen=True)
class Turned:
    """The template of a packet's first values, and what changes in it from packet to packet; the
    same for `program`, which plays it; what makes the template of a packet by its number.
    """

    template: Template
    change: Change
    start: Template
    program: Program
    build: Callable[[int], Template]

    def templates(self, count: int) -> list[Template]:
        """Return a template of each of the first packets: the program plays them."""
        start, frames = self.start, list[bytes]()
        while len(frames) < count:
            row = [start.frame] * min(lib.BURST_MAX, count - len(frames))
            frames += sample(self.program, row, (len(frames), 1))
        end, checks = len(start.frame) - start.payload, Checks(start)
        return [
            following(frame, end, checks, partial(self._packet, number))
            for number, frame in enumerate(frames)
        ]

    def _packet(self, number: int) -> Packet:
        made = self.build(number).packet
        assert made  # noqa: S101 - of Scapy
        return made()


def turned(packet: Packet, build: Build) -> Turned | None:
    """Return how a field program plays a packet, whose templates `build` makes; None: none can.
    Raises what `build` does of the last one.
    """
    fields = list(several(packet))
    first: Packet = next(iter(_chosen(packet, fields, 0)))

    def of(number: int) -> Template:
        return build(_chosen(first, fields, number))

    of(prod(each.count() for each in fields) - 1)  # does it fit?
    if (turns := _turns(first, fields)) is None:
        return None
    template, change = build(first.copy()), Change(turns=turns)
    try:
        (start,), program = compile_program([template], change)
    except Usage:
        return None
    for number, count in _checked(turns):
        asked = [of(number + i).frame for i in range(count)]
        if sample(program, [start.frame] * count, (number, 1)) != asked:
            return None
    return Turned(template, change, start, program, of)


def _turns(first: Packet, fields: Sequence[Several]) -> list[Turn] | None:
    """Return what a program has to play; None: it can't."""
    layers, turns, every = list(first.iterpayloads()), list[Turn](), 1
    for each in reversed(fields):
        try:
            notation = notation_of(layers[each.layer], each.name)
        except Usage:
            raise
        except Exception:  # noqa: BLE001 - Scapy raises anything
            return None
        domain = each.domain(notation) if notation else None
        if domain is None:
            return None
        turns.append(Turn(each.named, domain, every))
        every *= domain.count
    return turns


def _chosen(packet: Packet, fields: Sequence[Several], number: int) -> Packet:
    """Return the packet of a number in Scapy's order."""
    made: Packet = packet.copy()
    made.clear_cache()
    layers = list(made.iterpayloads())
    for each in reversed(fields):
        number, index = divmod(number, each.count())
        layers[each.layer].fields[each.name] = each.value(index)
    return made


def _checked(turns: Sequence[Turn]) -> Iterator[tuple[int, int]]:
    """Yield packets to be checked: the number of the first, and how many. Some are of each field,
    and of each route: by them, Scapy chooses source addresses.
    """
    last = prod(each.domain.count for each in turns) - CHECKED
    for number in (0, min(last, WORD - CHECKED)):
        yield number, CHECKED
    for turn in turns:
        low, step, count = turn.domain.low, turn.domain.step, turn.domain.count
        indexes = [count // 2, count - 1]
        if turn.domain.values is None:
            indexes += [(address - low) // step for address in _routes()]
        for index in indexes:
            if 0 <= index < count and index * turn.every <= WORD:
                yield index * turn.every, 1


def _routes() -> Iterator[int]:
    """Yield the first addresses of networks that this machine has routes to."""
    from scapy.config import conf  # noqa: PLC0415 - Scapy takes a second to import

    yield from (int(network) for network, *_ in conf.route.routes)
    yield from (IP6.read(network) for network, *_ in conf.route6.routes)
