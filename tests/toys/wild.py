# SPDX-License-Identifier: Apache-2.0
"""`wild:` - a source of packets whose ring now and then writes through a wild pointer."""

from dataclasses import dataclass

from uspnet.fastpath import ffi, lib
from uspnet.memory import new
from uspnet.port import Port
from uspnet.spec import Options, choice, integer, option


@dataclass(frozen=True)
class WildOptions(Options):
    """Options of `wild:`."""

    at: str = option(choice("nowhere", "code"), "nowhere", "where it writes")
    after: int = option(integer(1, 1 << 40), 1, "packets between two such writes")
    times: int = option(integer(0, 1000), 1, "how often")


class Wild(Port, scheme="wild"):
    """Receives packets without end."""

    help = "source with a broken ring"
    endless = True
    can_send = False
    options = WildOptions()

    def make_queue(self, _direction, _index):
        """Make a queue, which has no memory of its own."""
        given = self.options
        queue = new("struct wild_queue *", {"after": given.after, "left": given.after})
        queue.times = given.times
        queue.at = lib.WILD_CODE if given.at == "code" else lib.WILD_NOWHERE
        queue.q.burst = ffi.addressof(lib, "wild_rx")
        queue.q.wake_fd = -1
        return queue
