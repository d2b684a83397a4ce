# SPDX-License-Identifier: Apache-2.0
"""Compressing a capture file while it is written.

What is written at a time can be unpacked as soon as it is in the file, and the rest of the file
isn't needed for it. Of zstd and lz4 that is a run of blocks in one frame: a file of many frames is
what Wireshark 4.0 can't read when a frame's first four bytes lie across two of its buffers. While
blocks are added, the frame's end stands behind them, and is written over by the next ones: so the
file is complete at any time. With gzip, each piece is a member of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from uspnet.ports.pcap.kinds import Compression

PACKERS = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".lz4": "lz4",
    ".xz": "xz",
    ".bz2": "bzip2",
}  # by a name's end
ZSTD_LEVEL = GZIP_LEVEL = 1  # the writer has to keep up
GZIP = 31  # zlib's window of 32 KiB, in a member of gzip
BUFFER, MAGIC = 4096, 4  # bytes: of Wireshark's buffer, and of what a frame begins with


class Packer(Protocol):
    """Compresses one file. `end`: what must stand behind the last piece."""

    end: bytes

    def add(self, data: bytes, /) -> bytes:
        """Return the next piece."""


class _Zstd:
    end = b"\x01\0\0"  # the last block, which is empty

    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415 - 20 ms that only such files are worth

        made = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=False)
        self.frame = made.compressobj()
        self.flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def add(self, data: bytes) -> bytes:
        done: bytes = self.frame.compress(data) + self.frame.flush(self.flush)
        return done


class _Lz4:
    end = bytes(4)  # a block without a size

    def __init__(self) -> None:
        import lz4.frame  # noqa: PLC0415 - as above

        self.frame = lz4.frame.LZ4FrameCompressor(block_linked=False, auto_flush=True)
        self.head: bytes = self.frame.begin()

    def add(self, data: bytes) -> bytes:
        done: bytes = self.head + self.frame.compress(data)
        self.head = b""
        return done


class _Gzip:
    end = b""

    def add(self, data: bytes) -> bytes:
        return zlib.compress(data, GZIP_LEVEL, wbits=GZIP)


KINDS: dict[Compression, Callable[[], Packer]] = {
    Compression.zstd: _Zstd,
    Compression.lz4: _Lz4,
    Compression.gzip: _Gzip,
}


def packer(kind: str) -> Callable[[], Packer] | None:
    """Return what makes a file's packer; None: it is not compressed. Loads all that it needs."""
    make = KINDS.get(Compression(kind))
    if make:
        make()
    return make


def packed(make: Callable[[], Packer] | None, data: bytes) -> bytes:
    """Return what stands in a file for these bytes, before a frame that follows: a whole one."""
    if not make or not data:
        return data
    found = b""
    for pieces in ([data], *([data[:n], data[n:]] for n in range(1, 9))):  # of other lengths
        one = make()
        found = b"".join(map(one.add, pieces)) + one.end
        if len(found) % BUFFER <= BUFFER - MAGIC:
            break
    return found
