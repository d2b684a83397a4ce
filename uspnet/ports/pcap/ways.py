# SPDX-License-Identifier: Apache-2.0
"""Which way a capture file goes to its disk: past the page cache, or through it (`writing`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.ports.pcap.disk import PAGE
from uspnet.ports.pcap.kinds import Writing
from uspnet.ports.pcap.making import Making
from uspnet.ports.pcap.packing import Packer
from uspnet.ports.pcap.parts import Part

if TYPE_CHECKING:
    from uspnet.ports.pcap.sink import Sink

TOLD = {
    Writing.direct: "past the page cache (O_DIRECT)",
    Writing.buffered: "through the page cache",
}


def part_of(sink: Sink, pack: Callable[[], Packer] | None) -> Part:
    """Return how the writer of an open sink writes. Raises Usage and NotSupported where the way
    that was asked for can't be.
    """
    options, asked = sink.options, Writing(sink.options.writing)
    ours = sink.regular and not sink.takes_stdout
    able = ours and not pack and 0 < lib.file_direct_alignment(sink.fd) <= PAGE
    if asked is Writing.direct and not able:
        name = "stdout" if sink.takes_stdout else sink.path
        buffered = "drop --writing direct"
        if pack:
            raise Usage("compressed files are written through the page cache", buffered)
        if not ours:
            text = f"{name} can't be written past the page cache"
            raise Usage(text, f"name a file: -w x.pcapng, or {buffered}")
        text = f"{name}: its file system writes only through the page cache"
        raise NotSupported(text, f"{buffered}, or write to a disk: ext4, xfs, btrfs")
    direct = able and asked is not Writing.buffered
    patience = options.update_interval
    return replace(sink.part, patience_ms=patience, pack=pack, direct=direct)


def writing(sink: Sink | None) -> Writing | None:
    """Return the way that a file goes; None: there is none, or it is a pipe."""
    if not sink or not sink.writer or not sink.regular:
        return None
    direct = sink.writer.part.direct and not sink.writer.shared.cached
    return Writing.direct if direct else Writing.buffered


def told(sink: Sink) -> Making:
    """Return what a file says of how it is made, with the way that it goes."""
    way = writing(sink)
    return replace(sink.making, written=TOLD[way] if way else "")
