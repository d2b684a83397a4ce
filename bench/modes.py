# SPDX-License-Identifier: Apache-2.0
"""The modes of fwd among several ports: lanes from the reader of capture files to `null:`.

Three ports. The first one's packets are counted; those of the second are few, and teach a switch
where the addresses are that the first one's packets are for.
"""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from files import BUFFERS, LINK_ETHERNET, ROOM

ADDRESSES = 256
RULES = [*(f"drop udp port {number}" for number in range(1, 10)), "pass ip"]
ROUTES = Path(__file__).with_name("routes.txt")
MODES: dict[str, dict[str, Any]] = {
    "switch": {},
    "filter": {"rule": RULES},
    "route": {"routes": str(ROUTES)},
    "balance": {},
    "impair": {"loss": 0.01, "duplicate": 0.01, "corrupt": 0.01},
}


def udp_packet(addresses: bytes) -> bytes:
    """Make an IPv4 packet of 46 bytes. `addresses`: source, destination."""
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 46, 0, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", ip))
    check = 0xFFFF - (total % 0xFFFF or 0xFFFF)
    return ip[:10] + check.to_bytes(2, "big") + ip[12:] + struct.pack("!4H18x", 1024, 80, 26, 0)


def contents(side: int, count: int) -> bytes:
    """Write a pcap file of UDP frames from the addresses of one side to those of the other."""
    made = [struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, ROOM, LINK_ETHERNET)]
    for number in range(count):
        ends = [(each, number % ADDRESSES) for each in (1 - side, side)]
        macs = b"".join(struct.pack("!6B", 2, 0, 0, 0, *end) for end in ends)
        ips = b"".join(struct.pack("!4B", 10, 0, *end) for end in reversed(ends))
        frame = macs + b"\x08\x00" + udp_packet(ips)
        made += [struct.pack("=4I", 1, 1, len(frame), len(frame)), frame]
    return b"".join(made)


class ModeBench:
    """A worker in one mode, and its queues."""

    def __init__(self, mode: str, packets: int) -> None:
        from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
        from uspnet.fastpath import lib  # noqa: PLC0415
        from uspnet.jobs.forward.mode import find_mode, read_options  # noqa: PLC0415
        from uspnet.jobs.worker import Lane, Worker  # noqa: PLC0415
        from uspnet.port import Queue  # noqa: PLC0415

        self.rig = rig = QueueRig(8 * BUFFERS, ROOM)
        ports: list[Any] = [SimpleNamespace(name=n, spec=n, mac=None, can_send=True) for n in "abc"]
        counts = (packets, ADDRESSES)
        self.sources = [self._source(contents(side, n)) for side, n in enumerate(counts)]
        self.sinks = [rig.queue("null_queue", "null_tx") for _ in ports]
        kind = find_mode(mode, 2 if mode == "impair" else 3)
        exits = [(1, 2), (0, 2)] if mode != "impair" else [(1,), (0,)]
        routes: list[Any] = [
            ((ports[side], 0), [(ports[at], 0) for at in exits[side]]) for side in (0, 1)
        ]
        given = kind.prepare(ports, read_options(kind, MODES[mode]))
        loop = kind.make(ports, routes, lib.FULL_DROP, given)
        lanes = [
            Lane(
                Queue(ports[side], "rx", 0, self.sources[side]),
                [Queue(ports[at], "tx", 0, self.sinks[at]) for at in exits[side]],
            )
            for side in (0, 1)
        ]
        self.worker = Worker(loop, lanes, rig.stack)
        self.worker.hz = 10**9
        self.worker.c.ticks_hz = 10**9
        loop.set_clock(10**9)

    def _source(self, file: bytes) -> Any:
        from uspnet.fastpath import ffi  # noqa: PLC0415

        made = self.rig.queue("pcap_source", "pcap_rx")
        data = ffi.from_buffer("uint8_t[]", file)
        self.rig.keep.append(data)
        made.base, made.size = data, len(data)
        return made

    def run(self) -> int:
        """Run the loop to the end of the sources. Return how many packets have been received."""
        self.worker.loop.run()
        return sum(int(source.q.counters.packets) for source in self.sources)
