# SPDX-License-Identifier: Apache-2.0
"""Histograms as HdrHistogram's tools read them: its log format 1.3, encoded as V2, compressed.

The fast path counts in the slots of `HdrHistogram(1, 2**40, 2)` (fastpath/loops/histogram.h), so
that nothing is rounded: logs of several runs, one after another or added up, merge exactly.
"""

from __future__ import annotations

import base64
import struct
import time
import zlib
from collections.abc import Iterator, Sequence

LOWEST, HIGHEST, DIGITS = 1, 1 << 40, 2
ENCODED, COMPRESSED = 0x1C849313, 0x1C849314  # cookies of V2
HEAD = struct.Struct(">IIiiQQd")  # cookie, bytes, offset, digits, lowest, highest, ratio
OUTER = struct.Struct(">II")  # cookie, bytes
VARINT_BYTES = 9  # of the longest one
MS = 1e6  # ns; the unit of a line's largest value


def encode(counts: Sequence[int]) -> str:
    """Return counts by slot as base64 of a V2 compressed histogram."""
    data = b"".join(map(_varint, _words(counts)))
    head = HEAD.pack(ENCODED, len(data), 0, DIGITS, LOWEST, HIGHEST, 1.0)
    packed = zlib.compress(head + data)
    return base64.b64encode(OUTER.pack(COMPRESSED, len(packed)) + packed).decode()


def _words(counts: Sequence[int]) -> Iterator[int]:
    """Return the counts up to the last one that is not 0; of zeros in a row, their number, less
    than 0.
    """
    zeros = 0
    for count in counts:
        if not count:
            zeros += 1
            continue
        if zeros:
            yield -zeros
            zeros = 0
        yield count


def _varint(value: int) -> bytes:
    """Return a number in ZigZag, in 7 bits a byte, the lowest first; the ninth byte has 8."""
    rest = (value << 1 ^ value >> 63) & (1 << 64) - 1
    made = bytearray()
    while rest > 0x7F and len(made) < VARINT_BYTES - 1:
        made.append(rest & 0x7F | 0x80)
        rest >>= 7
    made.append(rest)
    return bytes(made)


def log_head(began: float) -> str:
    """Return the lines that a log begins with. `began`: seconds since 1970."""
    date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(began))
    return (
        "#[Histogram log format version 1.3]\n"
        f"#[StartTime: {began:.3f} (seconds since epoch), {date}]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )


def log_line(began: float, seconds: float, longest_ns: int, counts: Sequence[int]) -> str:
    """Return a log's line of an interval, which began so many seconds after 1970."""
    return f"{began:.3f},{seconds:.3f},{longest_ns / MS:.3f},{encode(counts)}\n"
