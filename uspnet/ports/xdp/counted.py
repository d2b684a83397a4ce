# SPDX-License-Identifier: Apache-2.0
"""What the kernel has counted of the sockets of an `xdp:` port (XDP_STATISTICS)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from uspnet.kernel import xsk
from uspnet.port import Queue
from uspnet.telemetry import STATISTICS, UNKNOWN


def count(
    made: Sequence[Queue], sockets: Sequence[xsk.XdpSocket], zero_copied: Collection[int]
) -> int | None:
    """Ask the kernel once, and write into the queues' counters what it could not hand over to each,
    and into those of the first what it has counted of all. Return what it could not hand over, in
    all; None: it is not known.
    """
    if not sockets:  # closed: the counters stay as they are
        return 0
    told = {index: sockets[index].statistics() for index in {queue.index for queue in made}}
    receivers = [queue for queue in made if queue.direction == "rx"]
    missed = [_missed(told[queue.index], queue.index in zero_copied) for queue in receivers]
    known = sum(each or 0 for each in missed)
    for queue, each in zip(receivers, missed, strict=True):
        unknown = each is None and not known
        queue.counters.missed = UNKNOWN if unknown else (each or 0) % UNKNOWN
    for place, name in enumerate(STATISTICS["xdp"] if made else ()):
        made[0].counters.statistics[place] = sum(getattr(each, name) for each in told.values())
    return None if None in missed and not known else known


def _missed(told: xsk.Statistics, zero_copied: bool) -> int | None:
    """Return what the kernel could not hand over to a socket. None: in zero copy, the NIC drops
    what finds no buffer, and no socket's counter has that.
    """
    return told.missed or (None if zero_copied else 0)
