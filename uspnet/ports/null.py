# SPDX-License-Identifier: Apache-2.0
"""`null:` - a source of zeros and a sink of everything. The smallest port: read it first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import new
from uspnet.pool import FRAME_MAX, LONGEST
from uspnet.port import Direction, Port
from uspnet.spec import Options, Spec, integer, option


@dataclass(frozen=True)
class NullOptions(Options):
    """Options of `null:`."""

    size: int = option(integer(14, FRAME_MAX), 60, "bytes of each frame received, 14 to 9728")
    queues: int = option(integer(1, 64), 1, "queue pairs, 1 to 64")


class Null(Port, scheme="null"):
    """Receives frames of zeros without end, and discards what it is sent.

    Where other ports or the loops write to the same memory, its frames have to be cleared.
    """

    help = "source of zeros, sink of everything"
    unknown: ClassVar[frozenset[str]] = frozenset()
    endless = True
    takes = LONGEST
    options = NullOptions()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if spec.target:
            raise Usage(f"{spec}: null: has no name", "write null: or null:size=1514,queues=2")
        self.queues = self.options.queues
        self.frame = max(self.frame, self.options.size)

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make a queue, which has no memory of its own."""
        queue = new("struct null_queue *", {"length": self.options.size})
        cleared = "_cleared" if direction == "rx" and self.is_beside_others else ""
        queue.q.burst = ffi.addressof(lib, f"null_{direction}{cleared}")
        queue.q.wake_fd = -1
        return queue
