# SPDX-License-Identifier: Apache-2.0
"""Compressed files: what they begin with, and readers that unpack them piece by piece.

A reader's `read1(n)` gives at most n bytes, as soon as there are some, however much a piece of the
input may stand for; files one behind the other are read as one, as the tools do.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import lzma
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

PIECE = 1024  # bytes: a bomb makes 32 MiB of them
WINDOW = 512 << 20  # bytes that a zstd reader looks back at (zstd --long=29)


class Reader(Protocol):
    """A file that unpacks what it reads."""

    def read1(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


Opener = Callable[[Any], Reader]


class _Zstd:
    """Frames of zstd, whose own stream reader takes a file that was cut for a whole one."""

    def __init__(self, file: Any) -> None:
        import zstandard  # noqa: PLC0415 - 20 ms that only such files are worth

        reader = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self.file, self.make = file, reader.decompressobj
        self.frame = self.make()
        self.input, self.at, self.begun = b"", 0, False

    def read1(self, _size: int) -> bytes:
        """Return the next piece; empty at the end."""
        while True:
            if self.at >= len(self.input):
                self.input, self.at = self.file.read(), 0
                if not self.input:
                    if self.begun:
                        raise EOFError
                    return b""
            piece = self.input[self.at : self.at + PIECE]
            self.at += len(piece)
            self.begun = True
            out: bytes = self.frame.decompress(piece)
            if self.frame.eof:
                self.at -= len(self.frame.unused_data)
                self.frame, self.begun = self.make(), False
            if out:
                return out


class _Streams:
    """Streams of bzip2 or xz. Python's own readers take a later one that is damaged for the end."""

    def __init__(self, make: Callable[[], Any], file: Any) -> None:
        self.file, self.make = file, make
        self.stream = make()
        self.input, self.begun = b"", False

    def read1(self, size: int) -> bytes:
        """Return the next piece; empty at the end."""
        while True:
            if self.stream.eof:
                self.input, self.stream, self.begun = self.stream.unused_data, self.make(), False
            if not self.input and self.stream.needs_input:
                self.input = self.file.read()
                if not self.input and self.begun:
                    raise EOFError
                if not self.input:
                    return b""
            if not self.begun:  # zeros may stand between streams, and at the end
                self.input = self.input.lstrip(b"\0")
                self.begun = bool(self.input)
            if self.begun:
                out: bytes = self.stream.decompress(self.input, size)
                self.input = b""
                if out:
                    return out


def _lz4(file: Any) -> Reader:
    import lz4.frame  # noqa: PLC0415 - as above

    reader: Reader = lz4.frame.LZ4FrameFile(file)
    return reader


OPENERS: dict[str, Opener] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "zstd": _Zstd,
    "lz4": _lz4,
    "xz": partial(_Streams, lzma.LZMADecompressor),
    "bzip2": partial(_Streams, bz2.BZ2Decompressor),
}
MAGIC = {
    b"\x1f\x8b": "gzip",
    # pzstd, and other programs that work in parallel, begin with a frame that is to be skipped.
    **{bytes((0x50 + i, 0x2A, 0x4D, 0x18)): "zstd" for i in range(16)},
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "xz",  # its predecessor, .lzma
    b"BZh": "bzip2",
    # What only its own program reads:
    b"\x02\x21\x4c\x18": "lz4 (old)",
    b"\x1f\x9d": "compress",
    b"LZIP": "lzip",
    b"\x89LZO": "lzop",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
MAGIC_BYTES = 8  # at most, of any of them
# How a shell writes the unpacked file to stdout.
COMMANDS = {
    "gzip": "gzip -dc",
    "zstd": "zstd -dc",
    "lz4": "lz4 -dc",
    "lz4 (old)": "lz4 -dc",
    "xz": "xz -dc",
    "bzip2": "bzip2 -dc",
    "compress": "uncompress -c",
    "lzip": "lzip -dc",
    "lzop": "lzop -dc",
    "zip": "unzip -p",
    "7z": "7z x -so",
    "rar": "unrar p -inul",
}
# What the readers raise for data that is not what it should be, or needs too much of a reader.
DAMAGED: tuple[type[Exception], ...] = (
    MemoryError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    OSError,
    ValueError,
    RuntimeError,
)


def is_too_large(error: Exception) -> bool:
    """Return whether an error means that unpacking needs more memory than is allowed."""
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in ("too much memory", "allocation error")
    )


def kind_of(begin: bytes) -> str:
    """Return how a file that begins so is compressed; empty if it is not."""
    return next((kind for magic, kind in MAGIC.items() if begin.startswith(magic)), "")


def damaged() -> tuple[type[Exception], ...]:
    """Return the exceptions that the readers used so far raise for damaged data."""
    import sys  # noqa: PLC0415 - rare

    more = sys.modules.get("zstandard")
    return (*DAMAGED, more.ZstdError) if more else DAMAGED


def load() -> None:
    """Import the readers' modules, which a confined child can't do."""
    for module in ("zstandard", "lz4.frame"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
