# SPDX-License-Identifier: Apache-2.0
"""Looking into capture files: their packets one burst after the other, or what they add up to.

Link types other than Ethernet are taken as they are.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from uspnet.fastpath import c, ffi, lib
from uspnet.packets.filter import Filter, choose_by
from uspnet.ports.pcap.about import KINDS
from uspnet.ports.pcap.blocks import Block
from uspnet.ports.pcap.source import Source
from uspnet.spec import Spec

BATCH = 64  # packets of a burst
STEPS = 1 << 16  # records between two looks at Python's signals
UNKNOWN = (1 << 64) - 1  # STAMP_UNKNOWN
ALL = (1 << 64) - 1


class Looked(Source):
    """A file to look into, whatever its link types are."""

    any_link = True


@dataclass(frozen=True)
class Seen:
    """A packet of a file. `time_ns`: since 1970; None: it has no time."""

    number: int
    time_ns: int | None
    interface: int
    link_type: int
    length: int
    data: bytes


class Look:
    """Reads one file, from its begin to its end, once. `only`: a filter of libpcap's; `most`:
    packets to accept. `on_block` is called with each block that is no packet; `on_room` when the
    flows or bursts that `c` counts need more memory.
    """

    def __init__(self, path: str, only: str | None = None, most: int | None = None) -> None:
        self.path, self.only = path, only
        self.source = Looked(Spec.of("pcap", path, {}))
        self.label = self.source.label
        self.kept: dict[object, object] = {}  # memory that C refers to
        self.c: c.PcapLook = ffi.new("struct pcap_look *")
        self.c.source, self.c.filtered = self.source.c, only is not None
        self.c.left = ALL if most is None else most
        self.on_block: Callable[[Block], None] | None = None
        self.on_room: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        try:
            self.source.open()
        except BaseException:
            self.source.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.source.close()

    @property
    def left(self) -> int:
        """Return how many packets are still to be accepted."""
        return int(self.c.left)

    @property
    def is_live(self) -> bool:
        """Return whether more comes from another program, perhaps."""
        return bool(self.source.feeder)

    def packets(self) -> Iterator[list[Seen]]:
        """Yield the packets in bursts. Raises Malformed behind the last whole packet of a file that
        is not whole.
        """
        seen = ffi.new("struct pcap_seen[]", BATCH)
        while True:
            found = lib.pcap_look(self.c, seen, BATCH, STEPS)
            if found:
                yield [_seen(seen[n]) for n in range(found)]
            if self._is_over():
                return

    def run(self) -> None:
        """Count all packets in C. Raises as `packets` does."""
        self.c.blocks = self.on_block is not None
        source = self.source.c
        if self.on_block and source.at and source.format != lib.PCAP_NG:  # its header was read
            header = bytes(ffi.buffer(source.base, source.begin))
            self.on_block(Block(0, header, bool(source.swapped), 0))
        while True:
            lib.pcap_look(self.c, ffi.NULL, STEPS, STEPS)
            if self._is_over():
                return

    def _is_over(self) -> bool:
        """Do what C has asked for. Return whether it is at the end."""
        match self.c.halt:
            case lib.LOOK_WAIT:
                select.select([self.source.feeder.fd], [], []) if self.source.feeder else None
            case lib.LOOK_LINK:
                self._add_filter(self.c.link_type)
            case lib.LOOK_BLOCK if self.on_block:
                block = self.c.block
                if block.type not in KINDS:
                    return False
                data = bytes(ffi.buffer(block.at, block.bytes))
                self.on_block(Block(block.type, data, bool(block.swapped), int(self.c.interfaces)))
            case lib.LOOK_ROOM if self.on_room:
                self.on_room()
            case lib.LOOK_END | lib.LOOK_FAULT:
                if self.left:
                    self.source.finish()
                described = self.source.c.interfaces[0].link_type
                if self.c.filtered and described and not self.c.n_links:  # no packet asked for it
                    self._compiled(described)
                return True
        return False

    def _add_filter(self, link_type: int) -> None:
        """Compile the filter for a link type. Raises as choose_by does."""
        at = self.c.n_links % lib.LOOK_LINKS  # one of many is compiled again
        made = self._compiled(link_type).make()
        self.kept[at] = made
        self.c.links[at], self.c.filters[at] = link_type, made
        self.c.n_links += 1

    def _compiled(self, link_type: int) -> Filter:
        return choose_by(self.only or "", link_type)


def _seen(each: c.PcapSeen) -> Seen:
    return Seen(
        number=int(each.number),
        time_ns=None if each.ns == UNKNOWN else int(each.ns),
        interface=int(each.interface),
        link_type=int(each.link_type),
        length=int(each.wire),
        data=bytes(ffi.buffer(each.data, each.length)),
    )
