# SPDX-License-Identifier: Apache-2.0
"""Flows, and which queue each belongs to: RSS computed beside the device's own."""

import os
import socket
import struct
import sys

from tests.support.harness import Station, frame
from uspnet.nic.rss import RSS_KEY

TCP, UDP, OTHER = 6, 17, 253  # IP protocols; the last is for experiments, RFC 3692
HEAD = bytes.fromhex("020000000002020000000001")


def toeplitz(data):
    """The hash of RSS ("Verifying the RSS Hash Calculation")."""
    key, result = int.from_bytes(RSS_KEY, "big"), 0
    for i in range(8 * len(data)):
        if data[i // 8] << i % 8 & 0x80:
            result ^= key >> 8 * len(RSS_KEY) - 32 - i & 0xFFFFFFFF
    return result


def flow(version, protocol, number):
    """A frame of flow `number`, and its hash: of the addresses, and of ports where there are."""
    ports = struct.pack("!HH", 1000 + number, 53)
    rest = ports + number.to_bytes(8, "big") + (b"\x50" if protocol == TCP else b"\0") + bytes(27)
    size = 4 if version == 4 else 16
    source = b"\x0a" + number.to_bytes(size - 1, "big")
    target = b"\x0a\1" + bytes(size - 3) + b"\1"
    if version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(rest), 1, 0, 64, protocol, 0)
        kind = b"\x08\x00"
    else:
        head = struct.pack("!IHBB", 6 << 28, len(rest), protocol, 64)
        kind = b"\x86\xdd"
    hashed = source + target + (ports if protocol in (TCP, UDP) else b"")
    return HEAD + kind + head + source + target + rest, toeplitz(hashed)


def flows(count, queues):
    """Frames of that many flows of every kind, each with its queue: the table's entries are the
    queues in turn. What is not IP belongs to the first.
    """
    kinds = [(version, protocol) for version in (4, 6) for protocol in (TCP, UDP, OTHER)]
    made = [flow(*kinds[i % len(kinds)], i) for i in range(count)]
    given = [(content, number % 128 % queues) for content, number in made]
    return given + [(frame(i, 60 + i), 0) for i in range(20)]


def receive_by_queue(made, port, give, given):
    """What came out of each queue. `give(frame)` is true when the cable took it; no more are under
    way than the cable has room for.
    """
    got = [[] for _ in range(port.queues)]
    for start in range(0, len(given), 32):
        for content, _ in given[start : start + 32]:
            made.until(lambda: give(content))  # noqa: B023 - used at once
        end = min(start + 32, len(given))

        def all_came():
            for index, queue in enumerate(got):
                queue.extend(made.take(port, index))
            return sum(map(len, got)) >= end  # noqa: B023 - used at once

        made.until(all_came)
    return got


def check_queues(made, port, give):
    """Each queue gets its flows, and no others. The order of frames of different flows is free."""
    given = flows(1200, port.queues)
    got = receive_by_queue(made, port, give, given)
    for index, queue in enumerate(got):
        wanted = [content for content, its in given if its == index]
        assert sorted(queue) == sorted(wanted)
        assert len(wanted) > 150


if __name__ == "__main__":  # a process of its own, for tests of what it may do: SPEC INTERFACE
    with Station(sys.argv[1]) as station, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        station.start()
        sock.bind((sys.argv[2], 0))
        check_queues(station, station.ports[0], lambda content: sock.send(content) == len(content))
        log = station.ports[0].machine.errors
        print(os.pread(log, 65536, 0).decode())
