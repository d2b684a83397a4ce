# SPDX-License-Identifier: Apache-2.0
"""read: what C counts of a file's packets, and the memory for that, which grows with them."""

from __future__ import annotations

import contextlib
import os

from uspnet.errors import UspnetError
from uspnet.fastpath import c, ffi, lib
from uspnet.ports.pcap.looking import Look

FLOWS, FLOWS_MOST = 1 << 10, 1 << 22  # slots, half of which are used at most
SLICE, SLICE_MOST = 1 << 8, 1 << 20  # the same for the packets of a window
ARRIVALS, ARRIVALS_MOST = 1 << 12, 1 << 24
WINDOWS_NS = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
GAP_NS = 10_000


class Table:
    """A table of flows; `c` is its struct, which lies somewhere else."""

    def __init__(self, c: c.PcapFlows, slots: int, most: int) -> None:
        self.c = c
        self.memory = ffi.new("struct pcap_flow[]", slots)
        c.at, c.slots, c.most_slots = self.memory, slots, most
        c.seed = int.from_bytes(os.urandom(8), "little")

    def grow(self) -> None:
        """Double the table if it is half full."""
        if self.c.used < self.c.slots // 2 or self.c.slots >= self.c.most_slots:
            return
        memory = ffi.new("struct pcap_flow[]", self.c.slots * 2)
        lib.pcap_flows_move(self.c, memory, self.c.slots * 2)
        self.memory = memory

    def top(self, n: int) -> list[c.PcapFlow]:
        """Return the up to n flows with the most bytes."""
        slots = ffi.new("uint32_t[]", n or 1)
        return [self.c.at[slots[i]] for i in range(lib.pcap_flows_top(self.c, slots, n, 0))]


class Bursts:
    """How packets came in bursts, and the queue before a link of `link_bps`, if there is one."""

    def __init__(self, link_bps: float | None) -> None:
        self.c: c.PcapBursts = ffi.new("struct pcap_bursts *")
        self.memory = ffi.new("struct pcap_arrival[]", ARRIVALS)
        self.c.ring, self.c.slots, self.c.most_slots = self.memory, ARRIVALS, ARRIVALS_MOST
        self.c.gap_ns, self.c.link_bps = GAP_NS, max(int(link_bps), 1) if link_bps else 0
        for window, ns in zip(self.c.windows, WINDOWS_NS, strict=True):
            window.ns = ns

    def grow(self) -> None:
        """Double the ring."""
        memory = ffi.new("struct pcap_arrival[]", self.c.slots * 2)
        lib.pcap_bursts_move(self.c, memory, self.c.slots * 2)
        self.memory = memory


class Counting:
    """Counts the packets of a file. Everything else than their sum is counted when asked for."""

    def __init__(self, file: Look, *, bursts: Bursts | None = None) -> None:
        self.file = file
        self.tally: c.PcapTally = ffi.new("struct pcap_tally *")
        self.flows = Table(ffi.new("struct pcap_flows *"), FLOWS, FLOWS_MOST)
        self.bursts = bursts
        file.c.tally, file.c.flows = self.tally, self.flows.c
        if bursts:
            file.c.bursts = bursts.c
        file.on_room = self._grow

    def _grow(self) -> None:
        before = self.flows.c.slots
        self.flows.grow()
        if self.bursts and self.flows.c.slots == before:
            self.bursts.grow()


def slices(file: Look, parts: list[tuple[int, int]]) -> list[tuple[Table, int]]:
    """Count the flows and bytes of some ranges of packets, by their first and last number, in a
    file that was opened anew.
    """
    made = ffi.new("struct pcap_slice[]", max(len(parts), 1))
    tables = []
    for each, (first, last) in zip(made, parts, strict=False):
        each.first, each.last = first, last
        tables.append(Table(ffi.addressof(each, "flows"), SLICE, SLICE_MOST))

    def grow() -> None:
        for table in tables:
            table.grow()

    file.c.slices, file.c.n_slices, file.on_room = made, len(parts), grow
    file.kept["slices"] = made
    with contextlib.suppress(UspnetError):  # where the file ends was told before
        file.run()
    return [(table, int(each.bytes)) for table, each in zip(tables, made, strict=False)]
