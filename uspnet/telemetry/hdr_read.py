# SPDX-License-Identifier: Apache-2.0
"""Reading logs of HdrHistogram: uspnet's, and those of other programs, whatever range and digits
they have. Only histograms in the encoding V2, compressed, are read, which all its versions since
2015 write.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from uspnet.errors import Malformed
from uspnet.telemetry.hdr import COMPRESSED, ENCODED, HEAD, OUTER, VARINT_BYTES

BYTES_MAX = 64 << 20  # of one histogram, unpacked
INTERVAL = re.compile(r"(?:Tag=[^,]*,)?[0-9.]+,[0-9.]+,[0-9.]+,([A-Za-z0-9+/=]+)\s*")
HINT = "give a log that HdrHistogram or uspnet pktgen --save has written"


def read_log(name: str, text: str) -> list[tuple[int, int]]:
    """Return how many values a log has of each slot's largest value, lowest first, added up over
    its intervals. `name`: of the file. Raises Malformed.
    """
    sums: Counter[int] = Counter()
    found = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", '"StartTimestamp"')):
            continue
        try:
            if not (match := INTERVAL.fullmatch(line)):
                raise ValueError("it is no interval of a log")
            sums.update(dict(_decode(match[1])))
        except (ValueError, struct.error, zlib.error, binascii.Error) as error:
            text = f"{name}, line {number}: {error or 'it is cut'}"
            raise Malformed(text, HINT) from None
        found = True
    if not found:
        raise Malformed(f"{name}: there is no histogram in it", HINT)
    return sorted(sums.items())


@dataclass(frozen=True)
class Slots:
    """The slots of HdrHistogram(lowest, …, digits)."""

    lowest: int
    digits: int

    def __post_init__(self) -> None:
        """Raise ValueError for what no histogram has."""
        if not (0 <= self.digits <= 5 and 1 <= self.lowest < 1 << 62):
            raise ValueError(f"no histogram has {self.digits} digits from {self.lowest} on")

    def largest(self, index: int) -> int:
        """Return the largest value of a slot."""
        unit = self.lowest.bit_length() - 1
        steps: int = 2 * 10**self.digits
        half = (steps - 1).bit_length() - 1  # log2 of half the slots of an octave
        octave = (index >> half) - 1
        within = (index & (1 << half) - 1) + (1 << half if octave >= 0 else 0)
        shift = max(octave, 0) + unit
        return (within + 1 << shift) - 1


def _decode(text: str) -> Iterator[tuple[int, int]]:
    """Yield the largest value of each slot, and its count. Raises ValueError and others."""
    packed = base64.b64decode(text, validate=True)
    cookie, size = OUTER.unpack_from(packed)
    if cookie != COMPRESSED:
        raise ValueError(f"its histogram is not compressed V2, but {cookie:#x}")
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed[OUTER.size : OUTER.size + size], BYTES_MAX)
    if not unpacker.eof:
        raise ValueError(f"its histogram is cut, or longer than {BYTES_MAX >> 20} MiB")
    cookie, size, offset, digits, lowest, _, _ = HEAD.unpack_from(data)
    if cookie != ENCODED or size != len(data) - HEAD.size:
        raise ValueError("its histogram is not V2, or cut")
    slots, index = Slots(lowest, digits), offset
    for value in _numbers(data[HEAD.size :]):
        if value > 0:
            yield slots.largest(index), value
        index += max(-value, 1)
        if index >> 32:
            raise ValueError("its histogram has more slots than there can be")


def _numbers(data: bytes) -> Iterator[int]:
    """Yield numbers in ZigZag, in 7 bits a byte; the ninth byte of one has 8."""
    at = 0
    while at < len(data):
        value = 0
        for place in range(VARINT_BYTES):
            if at == len(data):
                raise ValueError("its histogram is cut")
            byte, at = data[at], at + 1
            last = place == VARINT_BYTES - 1
            value |= (byte if last else byte & 0x7F) << 7 * place
            if last or byte < 0x80:
                break
        yield value >> 1 ^ -(value & 1)
