# SPDX-License-Identifier: Apache-2.0
"""How full the buffer between ports and a capture file is, and what has left it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uspnet.fastpath import lib

if TYPE_CHECKING:
    from uspnet.ports.pcap.sink import Sink

WORD = 32  # bits: a position is a chunk's number, and the bytes in it (pcap.h)


def fill(sink: Sink | None) -> tuple[float, int] | None:
    """Return which share of its fullest queue's ring waits to be written, beside what is to be held
    for a trigger, and how many bytes have left all rings: as if chunks that are past had been full.
    None: there is no file.
    """
    if not sink or not (writer := sink.writer):
        return None
    hold, rings = writer.part.hold, writer.rings[0 : sink.queues]
    held = hold.chunks(sink.queues) * lib.PCAP_ROOM if hold else 0
    full, passed = 0.0, 0
    for ring in rings:
        written, published = _octets(ring.positions.written), _octets(ring.positions.published)
        room = ring.n_chunks * lib.PCAP_ROOM - held
        full = max(full, min(max(published - written - held, 0) / room, 1.0))
        passed += written
    return full, passed


def _octets(position: int) -> int:
    return (position >> WORD) * lib.PCAP_ROOM + position % (1 << WORD)
