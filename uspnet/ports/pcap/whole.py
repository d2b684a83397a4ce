# SPDX-License-Identifier: Apache-2.0
"""The packets of a capture file in memory, for those who need them before a job begins."""

from __future__ import annotations

import select
from dataclasses import dataclass

from uspnet.errors import Malformed
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import new
from uspnet.pool import LONGEST, Pool
from uspnet.ports.pcap.source import Source
from uspnet.telemetry.counters import drops_by_reason, reasons_text

POOL = 2 * lib.BURST_MAX  # buffers
WAIT_S = 0.1


@dataclass(frozen=True)
class Frames:
    """Frames of a file, and what else was in it, in words."""

    frames: list[bytes]
    notes: list[str]


def read_frames(source: Source, most: int, octets: int) -> Frames:
    """Read up to `most` frames of up to `octets` bytes in all. What can't be read behind a frame
    that could is told in `notes`. Raises what `Source.open` raises, and Malformed for a file of
    which nothing can be read.
    """
    made = Frames([], [])
    source.notice = made.notes.append
    try:
        source.open()
        with Pool(POOL, source.longest_frame(LONGEST)) as pool:
            counters = new("struct counters *")
            whole = _read(source, pool, counters, made.frames, (most, octets))
            if cut := int(source.c.truncated):
                made.notes.append(f"{source.label}: {cut:,} packets of which it has only a part")
            if odd := _odd(counters):
                made.notes.append(f"{source.label}: without packets that can't be sent: {odd}")
            if whole:
                source.finish()
            else:
                text = f"{source.label}: it has more packets than the first {len(made.frames):,}"
                made.notes.append(f"{text}, which are used")
    except Malformed as error:
        if not made.frames:
            raise
        made.notes.append(error.message)
    finally:
        source.close()
    if not made.frames:
        raise Malformed(f"{source.label}: no packet in it", f"see: capinfos {source.path}")
    return made


def _odd(counters: c.Counters) -> str:
    """Say how many packets have no byte, or too many."""
    drops = drops_by_reason([counters])
    return reasons_text({name: drops[name] for name in ("too_short", "too_long") if name in drops})


def _read(
    source: Source, pool: Pool, counters: c.Counters, frames: list[bytes], limits: tuple[int, int]
) -> bool:
    """Add a file's frames, at most so many, and so many bytes. Return whether these are all."""
    stack, (most, octets) = pool.stack(POOL), limits
    source.attach(pool)
    queue = source.queue("rx", 0, stack, counters)
    packets, stamps = ffi.new("struct packet[]", lib.BURST_MAX), new("uint64_t[]", lib.BURST_MAX)
    origins = new("struct origin[]", lib.BURST_MAX)
    queue.base.stamps, queue.base.origins = stamps, origins
    total = 0
    while not queue.base.ended and not queue.base.fault:
        count = lib.pcap_rx(queue.base, packets, lib.BURST_MAX)
        for packet in packets[0:count]:
            start = pool.c.base + packet.index * pool.c.size + packet.offset
            frame = bytes(ffi.buffer(start, packet.length))
            stack.free[stack.top] = packet.index
            stack.top += 1
            total += len(frame)
            if len(frames) == most or total > octets:
                return False
            frames.append(frame)
        if not count and source.feeder:
            select.select([source.feeder.fd], [], [], WAIT_S)
    return True
