# SPDX-License-Identifier: Apache-2.0
"""What a signature in a packet's payload changes elsewhere in it: a checksum that covers it.

Nothing here knows a protocol. The packet is made with several signatures; the bytes that differ
are the checksum, and how it follows is found by trying the two ways there are: the Internet
checksum (TCP, UDP, ICMP, …), and any CRC of 32 bits (SCTP). What no way explains is refused. A
checksum around another that is kept right does not change: to the outer one, the inner one makes up
for what it covers. So there is one to follow, however deep the tunnels.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.packets.frames import SIGNATURE_BYTES

ZEROS = bytes(SIGNATURE_BYTES)
SAMPLES = 6  # signatures that have to be explained
Rebuild = Callable[[int, bytes], bytes]  # the frame with such a signature at such an offset


@dataclass(frozen=True)
class Check:
    """The checksum that follows the signature, as C's `struct frame_template` has it."""

    kind: int = lib.CHECK_NONE
    at: int = 0
    base: int = 0
    zero: int = 0
    swapped: bool = False
    crc: tuple[int, ...] = ()


NO_CHECK = Check()


def follow(rebuild: Rebuild, at: int, like: Check | None = None) -> Check:
    """How the frame's checksum follows a signature at offset `at`. `like`: that of a similar
    frame, which is tried first. Raises Usage when there is no telling.
    """
    zeros = rebuild(at, ZEROS)
    if like and _explains(again := _again(rebuild, at, zeros, like), rebuild, at, zeros, 1):
        return again
    changed = _changed(rebuild, at, zeros)
    if not changed:
        return NO_CHECK
    first, last = min(changed), max(changed)
    for find in (_sum, _crc) if last - first in (1, 3) else ():
        check = find(rebuild, at, zeros, first)
        if _explains(check, rebuild, at, zeros, SAMPLES):
            return check
    raise Usage(
        "a checksum of this packet does not follow from its sequence number",
        "leave the numbers out: --no-sequence",
    )


def _samples(count: int) -> list[bytes]:
    """Signatures to try: the same in every run."""
    source = random.Random(1)  # noqa: S311 - no secret
    return [source.randbytes(SIGNATURE_BYTES) for _ in range(count)]


def _changed(rebuild: Rebuild, at: int, zeros: bytes) -> list[int]:
    """Offsets outside the signature whose bytes depend on it."""
    frames = [rebuild(at, sample) for sample in _samples(SAMPLES)]
    if any(len(frame) != len(zeros) for frame in frames):
        return [0, len(zeros)]
    inside = range(at, at + SIGNATURE_BYTES)
    return [
        offset
        for offset, byte in enumerate(zeros)
        if offset not in inside and any(frame[offset] != byte for frame in frames)
    ]


def _again(rebuild: Rebuild, at: int, zeros: bytes, like: Check) -> Check:
    """Return the same kind of checksum at the same offset, over other bytes; none where the frame
    ends before.
    """
    if like.kind == lib.CHECK_SUM and len(zeros) >= like.at + 2:
        return _sum(rebuild, at, zeros, like.at)
    if like.kind == lib.CHECK_CRC and len(zeros) >= like.at + 4:
        return replace(like, base=struct.unpack_from("=I", zeros, like.at)[0])
    return NO_CHECK


def _sum(rebuild: Rebuild, at: int, zeros: bytes, first: int) -> Check:
    """Return a check for an Internet checksum at offset `first`."""
    base, swapped = ~int(struct.unpack_from("=H", zeros, first)[0]) & 0xFFFF, (at - first) % 2 == 1
    missing = struct.pack("=H", ~base & 0xFFFF)  # with this word the checksum is 0
    signature = (missing[::-1] if swapped else missing) + ZEROS[2:]
    zero = struct.unpack_from("=H", rebuild(at, signature), first)[0]
    return Check(lib.CHECK_SUM, first, base, zero, swapped)


def _crc(rebuild: Rebuild, at: int, zeros: bytes, first: int) -> Check:
    """Return a check for a 32-bit CRC at offset `first`. Its table has what each byte of the
    signature changes, composed of what each bit changes.
    """
    base = struct.unpack_from("=I", zeros, first)[0]
    table: list[int] = []
    for place in range(SIGNATURE_BYTES):
        bits = []
        for bit in range(8):
            signature = bytearray(ZEROS)
            signature[place] = 1 << bit
            bits.append(struct.unpack_from("=I", rebuild(at, bytes(signature)), first)[0] ^ base)
        for byte in range(256):
            used = (bits[bit] for bit in range(8) if byte >> bit & 1)
            table.append(reduce(int.__xor__, used, 0))
    return Check(lib.CHECK_CRC, first, base, crc=tuple(table))


def _explains(check: Check, rebuild: Rebuild, at: int, zeros: bytes, count: int) -> bool:
    """Is the frame with each of so many signatures what the fast path is going to make of it?"""
    samples = _samples(count)
    return all(_signed(check, zeros, at, sample) == rebuild(at, sample) for sample in samples)


def _signed(check: Check, frame: bytes, at: int, signature: bytes) -> bytes:
    """Return the frame as fastpath/loops/generate.c signs it."""
    made = bytearray(frame)
    made[at : at + SIGNATURE_BYTES] = signature
    if check.kind == lib.CHECK_SUM:
        word = sum(struct.unpack("=9H", signature)) % 0xFFFF
        word = (word << 8 | word >> 8) & 0xFFFF if check.swapped else word
        value = 0xFFFF - (check.base + word) % 0xFFFF
        struct.pack_into("=H", made, check.at, check.zero if value % 0xFFFF == 0 else value)
    elif check.kind == lib.CHECK_CRC:
        value = check.base
        for place, byte in enumerate(signature):
            value ^= check.crc[place * 256 + byte]
        struct.pack_into("=I", made, check.at, value)
    return bytes(made)
