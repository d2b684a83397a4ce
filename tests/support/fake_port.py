# SPDX-License-Identifier: Apache-2.0
"""A port whose rings are Python functions: a test decides what each burst gives and takes."""

from __future__ import annotations

import itertools

from uspnet.fastpath import ffi, lib
from uspnet.memory import new
from uspnet.port import Port
from uspnet.spec import parse

FRAME = 60


class FakePort(Port):
    """Gives `packets` frames of zeros (None: without end), takes `room` (None: all)."""

    def __init__(self, packets=None, room=None, queues=1):
        super().__init__(parse("null:"))
        self.name = f"fake{id(self)}"
        self.packets, self.room, self.queues = packets, room, queues
        self.bursts = self.controls = 0
        self.waiting = 0  # packets that the other side has not taken
        self.is_up = True
        self.log = []
        self.error = None  # what control raises

    def make_queue(self, direction, index):
        queue = new("struct null_queue *", {"length": FRAME})
        function = {"rx": self.receive, "tx": self.send}[direction]
        callback = ffi.callback("uint32_t(struct queue *, struct packet *, uint32_t)", function)
        self.log.append(f"queue {direction} {index}")
        self.keep = [*getattr(self, "keep", []), callback]
        queue.q.burst, queue.q.wake_fd = callback, -1
        return queue

    def receive(self, q, packets, n):
        self.bursts += 1
        if self.packets is not None:
            n = min(n, self.packets)
            self.packets -= n
            q.ended = self.packets == 0
        return lib.null_rx(q, packets, n)

    def send(self, q, packets, n):
        self.bursts += 1
        if self.room is not None:
            n = min(n, self.room)
            self.room -= n
        return lib.null_tx(q, packets, n)

    def open(self):
        self.log.append("open")

    def start(self):
        self.log.append("start")

    def control(self):
        self.controls += 1
        if self.error:
            raise self.error

    def up(self):
        return self.is_up

    def pending(self):
        return self.waiting

    def finish(self):
        self.log.append("finish")

    def stop(self):
        self.log.append("stop")

    def close(self):
        self.log.append("close")


def still(value, looks=5):
    """Does a number stay as it is while others have time to change it?"""
    import time

    first = value()
    for _ in itertools.repeat(None, looks):
        time.sleep(0.01)
        if value() != first:
            return False
    return True
