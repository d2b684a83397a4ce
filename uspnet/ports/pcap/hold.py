# SPDX-License-Identifier: Apache-2.0
"""What the process that writes a capture keeps in memory until there is a trigger.

The rings of chunks between the workers and that process are the memory: it looks at the packets in
them, and discards the oldest when too many are held (pcap_hold.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.fastpath import c, ffi, lib

if TYPE_CHECKING:
    from uspnet.ports.pcap.writer import Writer

ANY_TIME = NEWEST = (1 << 64) - 1


@dataclass(frozen=True)
class Hold:
    """How much is held, at most: `octets` of records in memory, and `before_ns` before a trigger.
    What follows in `after_ns` is written, too. `on` is the filter that triggers. `apart`: queues
    may be at different times, as those of files.
    """

    octets: int
    before_ns: int = ANY_TIME
    after_ns: int = ANY_TIME
    on: c.Filter | None = None
    apart: bool = False

    def chunks(self, queues: int) -> int:
        """Return how many chunks are held of each of so many queues."""
        return max(self.octets // lib.PCAP_CHUNK // queues, 1)


class Held:
    """The writer's side. Nothing of it lies in shared memory, nor is lost with a fork."""

    def __init__(self, hold: Hold, writer: Writer) -> None:
        self.writer = writer
        self.c = ffi.new("struct pcap_hold *")
        self.c.shared, self.c.n = writer.shared, len(writer.rings) - 1
        self.c.before_ns, self.c.after_ns = hold.before_ns, hold.after_ns
        self.c.apart = hold.apart
        if hold.on:
            self.on = ffi.new("struct filter *", hold.on[0])
            self.c.on = self.on
        for index in range(self.c.n):
            ring = self.c.rings[index]
            ring.ring = ffi.addressof(writer.rings, index)
            ring.most = hold.chunks(self.c.n)

    def look(self) -> None:
        """Look at what has come."""
        lib.pcap_hold_look(self.c)

    def peek(self, index: int, start: c.Pointer[c.Pointer[int]]) -> int:
        """Return how many bytes of a ring are to be written now, and set where they begin."""
        return int(lib.pcap_hold_peek(self.c, index, start))

    def waits(self) -> bool:
        """Return whether `peek` found nothing because others of the ring are to be written first,
        which were taken before.
        """
        return bool(self.c.waits)

    def sleeps(self, rings: c.PcapRing) -> bool:
        """Return whether there is nothing to do before the bell rings."""
        return bool(lib.pcap_hold_sleep(self.c, rings, self.c.n + 1))

    def end(self) -> None:
        """Discard what no trigger has asked for."""
        lib.pcap_hold_end(self.c)
