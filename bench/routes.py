# SPDX-License-Identifier: Apache-2.0
"""Tables of routes: how long a look-up takes, and how much memory they have; and packets that are
routed by one.
"""

from __future__ import annotations

import random
import socket
from array import array
from pathlib import Path

from modes import udp_packet

from uspnet.fastpath import ffi, lib
from uspnet.jobs.forward.lpm import IPV4, IPV6, Family, Table

LOOK_UPS, TIMES = 1 << 16, 9
LENGTHS = {  # shares of prefixes by length, about as in the Internet's tables
    IPV4: {24: 60, 23: 10, 22: 12, 21: 5, 20: 4, 19: 3, 18: 2, 17: 1, 16: 3},
    IPV6: {48: 48, 44: 9, 40: 10, 36: 6, 32: 20, 29: 7},
}
GATEWAYS = 64
MAC = "02:00:00:00:00:%02x"


def drawn(family: Family, count: int, noise: random.Random) -> dict[int, int]:
    """Return so many prefixes of unicast addresses, with one of 64 values each."""
    lengths, shares = zip(*LENGTHS[family].items(), strict=True)
    found: dict[int, int] = {}
    while len(found) < count:
        (length,) = noise.choices(lengths, shares)
        number = 0b001 << family.bits - 3 | noise.getrandbits(family.bits - 3)
        if family is IPV4:
            number = noise.randrange(1 << 24, 127 << 24)
        found[family.key(number.to_bytes(family.bits // 8, "big"), length)] = noise.randint(1, 64)
    return found


def covered(family: Family, key: int, noise: random.Random) -> int:
    """Return an address within a prefix."""
    return key >> 8 | noise.getrandbits(family.bits) >> (key & 0xFF)


def look_ups(family: Family, count: int) -> tuple[float, float]:
    """Return the nanoseconds of a look-up, the least of several runs, of addresses that prefixes
    cover, in any order; and the table's memory in MiB.
    """
    noise = random.Random(count)
    routes = drawn(family, count, noise)
    table = Table(family, routes)
    up = 128 - family.bits
    addresses = [covered(family, key, noise) << up for key in noise.choices([*routes], k=LOOK_UPS)]
    words = [array("Q", [each >> down & (1 << 64) - 1 for each in addresses]) for down in (64, 0)]
    high, low = (ffi.from_buffer("uint64_t[]", each) for each in words)
    found = ffi.new("uint32_t *")
    ns = min(float(lib.lpm_time(table.c, high, low, LOOK_UPS, found)) for _ in range(TIMES))
    return ns, table.bytes / (1 << 20)


def write_routes(file: Path, count: int) -> list[bytes]:
    """Write a route file of IPv4 prefixes whose packets leave by the second port. Return addresses
    that they cover.
    """
    noise = random.Random(count)
    routes = drawn(IPV4, count, noise)
    with file.open("w") as lines:
        for key, value in routes.items():
            prefix = socket.inet_ntop(socket.AF_INET, (key >> 8).to_bytes(4, "big"))
            lines.write(f"{prefix}/{key & 0xFF} via 192.0.2.{value} port 2 mac {MAC % value}\n")
    return [
        covered(IPV4, key, noise).to_bytes(4, "big") for key in noise.choices([*routes], k=count)
    ]


def frame_to(address: bytes) -> bytes:
    """Return a frame of 60 bytes to an address."""
    head = bytes.fromhex("020000000002 020000000001 0800")
    return head + udp_packet(bytes((198, 18, 0, 1)) + address)
