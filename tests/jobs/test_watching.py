# SPDX-License-Identifier: Apache-2.0
"""Who watches a job's queues, when its loops don't pause at once."""

from __future__ import annotations

import contextlib
import socket
from types import SimpleNamespace

from uspnet.errors import DeviceTimeout
from uspnet.fastpath import ffi, lib
from uspnet.jobs.watching import Watches


class Busy:
    """A port with one queue, whose loops pause only when they are asked again."""

    name, pool = "null:", SimpleNamespace(c=SimpleNamespace(size=2048))

    def __init__(self):
        self.queue = SimpleNamespace(direction="rx", base=ffi.new("struct queue *"))
        self.made, self.asked = [self.queue], 0

    @contextlib.contextmanager
    def quiesce(self):
        self.asked += 1
        if self.asked % 2:
            raise DeviceTimeout("a worker did not pause within 1 s")
        yield


def test_loops_that_do_not_pause_are_asked_again():
    port = Busy()
    own = {"burst": ffi.addressof(lib, "pcap_tx")}
    crew = SimpleNamespace(ports=[port], upgrades=SimpleNamespace(busy=lambda: False))
    crew.own = lambda _, name: own[name]
    watches = Watches(crew)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    watches.begin(theirs, {"port": 0, "drops": False, "longest": 100})
    watches.serve()
    assert port.asked == 0  # it is not ready
    ours.send(b"start")
    for begun in (False, True, True):
        watches.serve()
        assert bool(port.queue.base.watch) is begun
    assert port.queue.base.burst == ffi.addressof(lib, "watch_burst")
    ours.close()
    for left in (False, True):
        assert len(watches.fds()) == 1
        watches.serve()
        assert bool(port.queue.base.watch) is not left
    assert port.queue.base.burst == own["burst"]
    assert watches.fds() == []
    assert port.asked == 4
