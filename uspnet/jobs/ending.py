# SPDX-License-Identifier: Apache-2.0
"""How a run ends: receivers wait for late packets, peers take what is in their rings.

Everything here looks at the time that it is given, and never waits by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from uspnet.fastpath import lib
from uspnet.port import Port

GRACE_S = 0.2  # nothing more for so long, and all that was sent came back: the end
STRAGGLE_S = 1.0  # … and some are missing still: a busy machine's device may take its time
GRACE_MAX_S = 2.0  # a port that others send to as well never falls silent
TRANSIT_MAX_S = (
    5.0  # … and some are known to be on their way: a busy machine's QEMU waits for a CPU
)
LATE_S = 0.1  # a look that comes later than this found the machine too busy, and counts as so much
DRAIN_S = 2.0  # how long packets may wait in a ring for the other side, after the end
DRAIN_MAX_S = 10.0  # however slowly it takes them
LAST_S = 0.05  # the last slots may be free without a notification
LOOK_S = 0.002


@dataclass
class Grace:
    """How long receivers go on after the senders have ended: GRACE_S or STRAGGLE_S since their last
    packet, and GRACE_MAX_S in all; up to TRANSIT_MAX_S more while packets are in transit.

    The time is the sum of the times between looks, each counted as LATE_S at most: a machine that
    is too busy for us to look is too busy for the packets, too.
    """

    seen: int = -1
    since: float = 0.0
    spent: float = 0.0
    looked: float = 0.0
    latest: float = GRACE_MAX_S

    def over(self, now: float, received: int, sent: int, *, in_transit: bool = False) -> bool:
        """Return whether the time is up. To be called repeatedly, with the packets received and
        sent so far, and whether ports know of some that are still on their way.
        """
        self.spent += min(now - (self.looked or now), LATE_S)
        self.looked = now
        if in_transit and received < sent and self.spent < TRANSIT_MAX_S:
            self.since, self.latest = self.spent, self.spent + GRACE_MAX_S
        if received != self.seen and self.spent < self.latest:
            self.seen, self.since = received, self.spent
            return False
        patience = GRACE_S if received >= sent else STRAGGLE_S
        return self.spent >= self.latest or self.spent - self.since > patience


def drain(
    ports: Sequence[Port],
    serve: Callable[[float], None],
    on_wait: Callable[[float], None],
    hurry: Callable[[], bool],
) -> None:
    """Wait until the other sides have taken what is in their rings, or no longer make progress.
    `serve` handles events for that many seconds; `on_wait` is called with the seconds so far;
    `hurry` ends the wait.
    """
    began = time.monotonic()
    end, last = began + DRAIN_S, 1 << 32
    latest = end + DRAIN_MAX_S
    while time.monotonic() < min(end, latest):
        waiting = [(port, port.pending()) for port in ports]
        pending = sum(packets for _, packets in waiting)
        if pending == 0 or hurry():
            return
        if pending < last:
            told = any(port.reports_sent for port, packets in waiting if packets)
            patience = DRAIN_S if told or pending > lib.BURST_MAX else LAST_S
            end, last = time.monotonic() + patience, pending
        on_wait(time.monotonic() - began)
        serve(LOOK_S)
