# SPDX-License-Identifier: Apache-2.0
"""Who watches the queues of a running job: other processes, such as `uspnet capture --job`, which
get copies of the packets that pass a port, or that are dropped there (fastpath/rings/watch.h).

A watcher asks for a port, `{"do": "watch", "port": 0, "drops": false, "longest": 65535}`, and gets
the memory of a ring for each of its queues. Its next message starts the copying. It ends with the
connection.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.answer import Json
from uspnet.errors import Busy, DeviceTimeout, NoDevice, Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import SharedMemory, new
from uspnet.port import Port, Queue
from uspnet.telemetry import REASONS
from uspnet.text import printable

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew

STRIDE = lib.WATCH_HEAD + lib.WATCH_RING  # bytes from ring to ring
LONGEST = (1 << 16) - 1  # bytes of a packet
WORDS_MAX = 64  # bytes of a message of a watcher


@dataclass
class Watcher:
    """A process that watches the queues of a port."""

    connection: socket.socket
    port: Port
    queues: Sequence[Queue]
    memory: SharedMemory
    drops: bool
    longest: int
    watches: Sequence[c.Watch]
    asked: bool = False  # to start
    started: bool = False
    left: bool = False

    def close(self) -> None:
        """Let it go. No loop uses the memory."""
        self.connection.close()
        self.memory.close()


class Watches:
    """The watchers of a job. A queue has one at most."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._watchers: list[Watcher] = []

    def begin(self, connection: socket.socket, asked: Json) -> None:
        """Do what a request asks for, and take its connection. Raises Usage, NoDevice, Busy,
        NoMemory.
        """
        match asked:
            case {"port": int(number), "drops": bool(drops), "longest": int(longest)}:
                port, longest = self._port(number), min(max(longest, 0), LONGEST)
            case _:
                raise Usage("this job does not know that order", "see: uspnet capture --help")
        queues = list(port.made)
        watches = [new("struct watch *") for _ in queues]  # which may raise, before loops pause
        memory = SharedMemory("uspnet-watch", len(queues) * STRIDE)
        self._watchers.append(Watcher(connection, port, queues, memory, drops, longest, watches))
        answer = {
            "name": port.name,
            "queues": [queue.direction for queue in queues],
            "buffer": int(port.pool.c.size),
            "reasons": list(REASONS),
        }
        with suppress(OSError):  # it has left already, which `serve` will see
            socket.send_fds(connection, [json.dumps({"answer": answer}).encode()], [memory.fd])

    def _port(self, number: int) -> Port:
        """Return a port that nobody watches. They are numbered as on the job's board."""
        ports = [port for port in self.crew.ports if port.made]
        if not 0 <= number < len(ports):
            text = f"the job has no port {number}, but {len(ports)} of them, from 0"
            raise NoDevice(text, "see: uspnet stats --once")
        port = ports[number]
        if any(each.port is port for each in self._watchers):
            text = f"another process captures {printable(port.name)} of this job already"
            raise Busy(text, "stop it, or capture another port: --port N")
        return port

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when `serve` has something to do."""
        if self.crew.upgrades.busy():  # the process before may still go on, with what it knows
            return []
        return [each.connection.fileno() for each in self._watchers]

    def serve(self) -> None:
        """Start the watches of those who are ready, and end those of who left."""
        for each in [] if self.crew.upgrades.busy() else list(self._watchers):
            self._hear(each)
            with suppress(DeviceTimeout):  # loops that don't pause now are asked again
                if each.left:
                    self._end(each)
                elif each.asked and not each.started:
                    self._start(each)

    def _hear(self, watcher: Watcher) -> None:
        try:
            word = watcher.connection.recv(WORDS_MAX)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        watcher.asked, watcher.left = watcher.asked or bool(word), watcher.left or not word

    def _start(self, watcher: Watcher) -> None:
        with watcher.port.quiesce():
            watcher.started = True
            for number, (queue, watch) in enumerate(
                zip(watcher.queues, watcher.watches, strict=True)
            ):
                start = watcher.memory.base + number * STRIDE
                watch.shared = ffi.cast("struct watch_shared *", start)
                watch.records, watch.size = start + lib.WATCH_HEAD, lib.WATCH_RING
                watch.longest, watch.drops = watcher.longest, watcher.drops
                watch.sends = queue.direction == "tx"
                watch.burst = self.crew.own(queue.base, "burst")
                if not watcher.drops:
                    queue.base.burst = ffi.addressof(lib, "watch_burst")
                queue.base.watch = watch

    def _end(self, watcher: Watcher) -> None:
        if watcher.started:
            with watcher.port.quiesce():
                for queue, watch in zip(watcher.queues, watcher.watches, strict=True):
                    if not watcher.drops:
                        queue.base.burst = self.crew.own(watch, "burst")
                    queue.base.watch = ffi.NULL
        self._watchers.remove(watcher)
        watcher.close()

    def close(self) -> None:
        """Let all go: the job has ended."""
        for each in self._watchers:
            each.close()
        self._watchers.clear()
