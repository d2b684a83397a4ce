# SPDX-License-Identifier: Apache-2.0
"""`job:1234,port=1` - what passes a port of another process's running job, or is dropped there. A
job has its process id, or the path of its --control: `job:/run/fwd.sock`.

The job copies packets into rings in memory that it shares with us (fastpath/rings/watch.h), from
the moment on at which ours runs. It is never slowed down by us: what finds no room is counted as
dropped here.

Does not do: jobs in other network namespaces by process id; their path reaches them.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from uspnet.answer import Json
from uspnet.errors import Malformed, NotSupported, Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.mapping import Mapping
from uspnet.memory import new, octets
from uspnet.pool import LONGEST
from uspnet.port import Direction, Port
from uspnet.spec import Options, Spec, integer, option, switch
from uspnet.system.memfd import is_memfd
from uspnet.telemetry import look
from uspnet.telemetry.reaching import JOBS, ask, is_process_id, reach
from uspnet.text import printable

PATIENCE_S = 10.0  # of a job that is busy
QUEUES_MAX = 128  # of a port, of both directions
REASONS_MAX = 128
STRIDE = lib.WATCH_HEAD + lib.WATCH_RING
COMMENT, FLAGS = 1, 2  # options of pcapng
INBOUND, OUTBOUND = 1, 2  # in the flags


@dataclass(frozen=True)
class JobOptions(Options):
    """Options of `job:`."""

    port: int = option(integer(0, 255), 0, "number of the job's port, from 0, as stats lists them")
    dropped: bool = option(
        switch, False, "on: packets that the job drops there; off: those that it receives and sends"
    )
    longest: int = option(
        integer(14, LONGEST), LONGEST, "bytes that the job copies of each packet, at most"
    )


class JobPort(Port, scheme="job"):
    """Receives copies of the packets of another job's port."""

    help = "a port of a running job: what it receives and sends, or drops"
    can_send = False
    knows_origins = True
    stamps = (
        "CLOCK_REALTIME, read by the job once for each burst of packets, which share it; or what "
        "the job's own port says"
    )
    options = JobOptions()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if "/" not in spec.target and not is_process_id(spec.target):
            text = f"{self.name}: {spec.target[:40]!r} is not a process id, nor a path"
            raise Usage(text, f"write job:1234; {JOBS}; or name the path of its --control")
        self.pid = 0
        self.connection: socket.socket | None = None
        self.directions: list[str] = []  # of the job's queues
        self.reasons: list[str] = []  # why it drops packets, by number
        self.memory: Mapping | None = None
        self.rings: list[c.WatchedQueue] = []
        self.owned = Owned()
        self.started = self.over = False

    @classmethod
    def targets(cls) -> list[str]:
        """Return the process ids of running jobs."""
        return [str(job.pid) for job in look().jobs]

    def open(self) -> None:
        """Connect to the job, and get the memory of its rings. Raises what that raises."""
        asked = {"do": "watch", "port": self.options.port}
        asked |= {"drops": self.options.dropped, "longest": self.options.longest}
        self.connection, self.pid = reach(self.spec.target, PATIENCE_S, "capture --job")
        said, fds = ask(self.connection, self.pid, asked)
        self.connection.setblocking(False)
        try:
            self._learn(said.get("answer"))
            self._map(fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _learn(self, said: Json | None) -> None:
        match said:
            case {
                "name": str(name),
                "queues": [*queues],
                "buffer": int(size),
                "reasons": [*reasons],
            } if 0 < len(queues) <= QUEUES_MAX and len(reasons) <= REASONS_MAX and size > 0:
                self.how = f"port {self.options.port} of job {self.pid}: {printable(name)}"
                self.directions = [str(each) for each in queues]
                self.reasons = [printable(str(each), 40) for each in reasons]
                self.queues = len(queues)
                self.frame = min(max(self.frame, size), LONGEST)
            case _:
                raise self._nonsense()

    def _map(self, fds: Sequence[int]) -> None:
        """Map the rings, which can't become shorter."""
        size = self.queues * STRIDE
        try:
            sealed = fcntl.fcntl(fds[0], fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
            if not sealed or not is_memfd(fds[0]) or os.fstat(fds[0]).st_size < size:
                raise self._nonsense()
            self.memory = Mapping(os.dup(fds[0]), size)
        except (OSError, IndexError):
            raise self._nonsense() from None

    def _nonsense(self) -> Malformed:
        return Malformed(f"job {self.pid} gave an answer that is none", JOBS)

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make the ring of one of the job's queues."""
        queue: c.WatchedQueue = new("struct watched_queue *")
        start = cast("Mapping", self.memory).base + index * STRIDE  # since open
        queue.shared = ffi.cast("struct watch_shared *", start)
        queue.records, queue.size = start + lib.WATCH_HEAD, lib.WATCH_RING
        flags = INBOUND if self.directions[index] == "rx" else OUTBOUND
        texts = [_options(flags, reason) for reason in (*self.reasons, "")]
        queue.n_notes = len(texts)
        queue.notes = self.owned.keep(new("struct watched_note[]", len(texts)))
        for number, text in enumerate(texts):
            queue.notes[number].options = self.owned.keep(octets(text))
            queue.notes[number].bytes = len(text)
        queue.q.burst, queue.q.wake_fd = ffi.addressof(lib, "watched_rx"), -1
        self.rings.append(queue)
        return queue

    def note(self, interface: int) -> None:
        """Have packets carry their direction, and why they were dropped, into a pcapng file, where
        they are of the interface with this number. No loop runs yet.
        """
        for ring in self.rings:
            ring.noted, ring.interface = 1, interface

    def control_fds(self) -> list[int]:
        """Return the connection, which becomes readable when the job ends."""
        return [self.connection.fileno()] if self.connection and not self.over else []

    def control(self) -> None:
        """Have the job begin, once ours runs; notice its end. Raises when its rings are damaged."""
        super().control()
        if not self.connection or self.over:
            return
        try:
            if not self.started:
                self.started = bool(self.connection.send(b"start"))
            self.over = self.connection.recv(1) == b""
        except BlockingIOError:
            return
        except OSError:
            self.over = True
        for ring in self.rings:
            ring.over = self.over

    def held(self) -> dict[str, int]:
        """Refuse, by NotSupported: what the job moves meanwhile would be missed."""
        text = f"{self.name}: packets that the other job moves meanwhile would be missed"
        raise NotSupported(text, "stop the capture, and start the new version")

    def close(self) -> None:
        """Disconnect: the job copies nothing more."""
        if self.connection:
            self.connection.close()
            self.connection = None
        if self.memory:
            self.memory.close()
            self.memory = None


def _options(flags: int, reason: str) -> bytes:
    """Return the options of a packet's block: its direction, and why it was dropped."""
    made = struct.pack("=HHI", FLAGS, 4, flags)
    if reason:
        text = f"dropped: {reason.replace('_', ' ')}".encode()
        made += struct.pack("=HH", COMMENT, len(text)) + text + bytes(-len(text) % 4)
    return made
