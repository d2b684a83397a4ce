# SPDX-License-Identifier: Apache-2.0
"""Capture files made byte by byte, and the two rings on memory of the test's own."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any

from uspnet.fastpath import ffi, lib
from uspnet.pool import Pool

FRAMES = [bytes(range(n)) for n in (60, 61, 62, 63, 14, 100)]
UNKNOWN = 2**64 - 1  # STAMP_UNKNOWN
STAMPS = [1_700_000_000_123_456_789 + 1_000_001 * n for n in range(len(FRAMES))]


class Reader:
    """The ring on bytes instead of a mapped file, with its own pool."""

    def __init__(self, data: bytes, *, loop: bool = False, room: int = 1522) -> None:
        # Exactly as large as the data: a read beyond it is what a sanitizer would report.
        self.data = ffi.new("uint8_t[]", len(data))
        ffi.memmove(self.data, data, len(data))
        self.pool = Pool(128, room)
        self.stack = self.pool.stack(128)
        self.counters = ffi.new("struct counters *")
        self.stamps = ffi.new("uint64_t[64]")
        self.origins = ffi.new("struct origin[64]")
        self.sink: Sink | None = None
        self.wire: list[int] = []  # lengths on the wire, of all packets so far
        self.c = ffi.new("struct pcap_source *")
        self.c.base, self.c.size, self.c.loop = self.data, len(data), loop
        self.bound = 10 + len(data) // 12  # bursts that it may take
        queue = self.c.q
        queue.pool, queue.stack, queue.counters = self.pool.c, self.stack, self.counters
        queue.stamps, queue.origins = self.stamps, self.origins

    def burst(self, n: int = 32) -> list[tuple[int, bytes]]:
        packets = ffi.new("struct packet[64]")
        got = lib.pcap_rx(ffi.cast("struct queue *", self.c), packets, n)
        found = []
        for i in range(got):
            p = packets[i]
            start = self.pool.c.base + p.index * self.pool.c.size + p.offset
            found.append((int(self.stamps[i]), bytes(ffi.buffer(start, p.length))))
            self.wire.append(int(self.origins[i].length))
        if self.sink:
            got -= self.sink.send(packets, got, self.stamps, self.origins)
            assert not got
        give_back(self.stack, packets, got)
        return found

    def carry(self, form: int = lib.PCAP_NG) -> Sink:
        """Has the packets go on to a file."""
        self.sink = Sink(self, form)
        if form == lib.PCAP_NG:
            self.c.sink = self.sink.c
        return self.sink

    def all(self) -> list[tuple[int, bytes]]:
        """Every packet, in a bounded number of bursts."""
        found: list[tuple[int, bytes]] = []
        for _ in range(self.bound):
            found += self.burst()
            if self.c.q.ended:
                assert self.stack.top == 128
                return found
        raise AssertionError("the reader does not end")

    def close(self) -> None:
        self.pool.close()


def give_back(stack: Any, packets: Any, n: int) -> None:
    for i in range(n):
        stack.free[stack.top] = packets[i].index
        stack.top += 1


def read(data: bytes) -> tuple[list[tuple[int, bytes]], Reader]:
    reader = Reader(data)
    try:
        return reader.all(), reader
    finally:
        reader.close()


def block(order: str, kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(
    order: str,
    resolution: int | None = 9,
    offset: int = 0,
    link: int = 1,
    snaplen: int = 0,
    options: bytes = b"",
) -> bytes:
    if resolution is not None:
        options += struct.pack(order + "HHB3x", 9, 1, resolution)
    if offset:
        options += struct.pack(order + "HHq", 14, 8, offset)
    return block(order, 1, struct.pack(order + "HHI", link, 0, snaplen) + options + bytes(4))


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def enhanced(
    order: str,
    time: int,
    frame: bytes,
    number: int = 0,
    wire: int | None = None,
    options: bytes = b"",
) -> bytes:
    length = len(frame) if wire is None else wire
    head = struct.pack(order + "IIIII", number, time >> 32, time & 0xFFFFFFFF, len(frame), length)
    return block(order, 6, head + frame + b"\0" * (-len(frame) % 4) + options)


def obsolete(order: str, time: int, frame: bytes) -> bytes:
    head = struct.pack(
        order + "HHIIII", 0, 7, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame)
    )
    return block(order, 2, head + frame)


def pcapng(order: str = "<") -> bytes:
    return section(order) + interface(order) + b"".join(map(enhanced, order * 9, STAMPS, FRAMES))


def classic(order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    unit = 1 if magic == 0xA1B23C4D else 1000
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for ns, frame in zip(STAMPS, FRAMES, strict=True):
        seconds, part = divmod(ns, 10**9)
        data += struct.pack(order + "IIII", seconds, part // unit, len(frame), len(frame)) + frame
    return data


class Piped(Reader):
    """The ring on a pipe that brings a few bytes at a time."""

    def __init__(self, data: bytes, step: int, **more: Any) -> None:
        super().__init__(b"", **more)
        self.rest, self.step = data, step
        self.window = ffi.new("uint8_t[]", lib.PCAP_WINDOW)
        read, self.out = os.pipe2(os.O_NONBLOCK)
        self.c.base, self.c.live, self.c.stream_fd = self.window, 1, read
        self.bound = 40 + 2 * len(data)

    def burst(self, n: int = 32) -> list[tuple[int, bytes]]:
        if self.rest:
            self.rest = self.rest[os.write(self.out, self.rest[: self.step]) :]
        elif self.out >= 0:
            os.close(self.out)
            self.out = -1
        return super().burst(n)

    def close(self) -> None:
        for fd in (self.out, self.c.stream_fd):
            with contextlib.suppress(OSError):
                os.close(fd)
        super().close()


class Sink:
    """A sink's ring; the test is its writer."""

    def __init__(self, reader: Reader, form: int) -> None:
        self.shared = ffi.new("struct pcap_shared *")
        self.chunks = ffi.new("struct pcap_chunk[]", 3)
        self.c = ffi.new("struct pcap_sink *")
        self.c.shared, self.c.snaplen, self.c.bell_fd = self.shared, lib.PCAP_LONGEST, -1
        ring = self.c.ring
        ring.positions = ffi.addressof(self.shared.positions, 0)
        ring.chunks, ring.n_chunks, ring.format = self.chunks, 3, form
        self.texts = [ffi.from_buffer("uint8_t[]", text) for text in (HEADER, NAME)]
        self.c.header, self.c.header_bytes = self.texts[0], len(HEADER)
        self.c.application, self.c.application_bytes = self.texts[1], len(NAME)
        queue = self.c.q
        queue.pool, queue.stack = reader.pool.c, reader.stack
        queue.counters = self.counters = ffi.new("struct counters *")
        self.written = b""

    def send(self, packets: Any, n: int, stamps: Any, origins: Any) -> int:
        queue = ffi.cast("struct queue *", self.c)
        queue.stamps, queue.origins = stamps, origins
        done = int(lib.pcap_tx(queue, packets, n))
        self.take()
        return done

    def take(self) -> bytes:
        """All that has been written so far."""
        start, ring = ffi.new("uint8_t **"), ffi.addressof(self.c.ring)
        while length := lib.pcap_peek(ring, start):
            assert lib.pcap_whole(ring, start[0], length) == length
            self.written += bytes(ffi.buffer(start[0], length))
            lib.pcap_release(ring, length)
        return self.written


HEADER = section("=") + interface("=")
NAME = struct.pack("=HH4s", 4, 4, b"test")

KINDS = {
    "pcapng-le": pcapng("<"),
    "pcapng-be": pcapng(">"),
    "us-le": classic("<"),
    "us-be": classic(">"),
    "ns-le": classic("<", 0xA1B23C4D),
    "ns-be": classic(">", 0xA1B23C4D),
}
