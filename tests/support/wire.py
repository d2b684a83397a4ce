# SPDX-License-Identifier: Apache-2.0
"""Ports with a wire that the test plays."""

from __future__ import annotations

from tests.support.fake_port import FakePort
from uspnet.fastpath import ffi, lib


class Wire(FakePort):
    """A port with frames on its wire: `given` are received, what is sent is in `taken`."""

    def __init__(self, given=(), ends=True):
        super().__init__()
        self.given, self.taken, self.ends = list(given), [], ends

    def receive(self, q, packets, n):
        n = lib.null_rx(q, packets, min(n, len(self.given)))
        for i in range(n):
            frame = self.given.pop(0)
            ffi.memmove(place(q, packets[i]), frame, len(frame))
            packets[i].length = len(frame)
        q.ended = self.ends and not self.given
        return n

    def send(self, q, packets, n):
        for i in range(n):
            self.taken.append(bytes(ffi.buffer(place(q, packets[i]), packets[i].length)))
        return lib.null_tx(q, packets, n)


class Echo(Wire):
    """What is sent comes back as `change` has it, which is given each frame and its number."""

    def __init__(self, change):
        super().__init__(ends=False)
        self.change, self.number = change, 0

    def send(self, q, packets, n):
        done = super().send(q, packets, n)
        while self.number < len(self.taken):
            self.given += self.change(self.taken[self.number], self.number)
            self.number += 1
        return done


def place(q, packet):
    """Where a packet's bytes are."""
    return q.pool.base + packet.index * q.pool.size + packet.offset
