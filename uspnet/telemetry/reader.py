# SPDX-License-Identifier: Apache-2.0
"""The boards of other processes, which anybody may have made.

A board is believed to be one when it is a memfd, by its mount (no file server is asked, nothing
is waited for), sealed, and holds what `schema.py` allows. It belongs to the user who made the
memory, not to the process that has it open: descriptors can be inherited and sent. A user's
boards and descriptors are looked at up to a limit, so that nobody can hide others' by a flood.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from uspnet.fastpath import c, ffi
from uspnet.memory import SEALS
from uspnet.sandbox.enforced import Enforced
from uspnet.system.memfd import is_memfd
from uspnet.telemetry import schema
from uspnet.telemetry.board import BOARD, COUNTER_BYTES
from uspnet.telemetry.counters import (
    COUNTERS,
    PortCounters,
    drops_by_reason,
    port_counters,
    statistics_of,
)

DESCRIPTORS_MAX = 4096  # of a process; a job opens its board before peers can come
USER_DESCRIPTORS_MAX = 1 << 18
NAMED_MAX = 64  # of a process: others may have sent it some that are named as boards are
USER_BOARDS_MAX = 32
TARGET = f"/memfd:{BOARD} (deleted)"
F_GET_SEALS = 1034
ATTEMPTS, NAP_S = 5, 0.001  # to read a header that is being written anew


@dataclass(frozen=True, kw_only=True)
class RunningPort(PortCounters):
    """A port of a running job."""

    sleeps: int
    """How often its workers went to sleep until they were woken."""


@dataclass
class RunningJob:
    """A job of another process, as its board shows it at one moment."""

    pid: int
    uid: int  # whose it is
    seen_at: float  # time.monotonic()
    command: str
    started_ns: int
    ports: list[RunningPort]
    sandbox: Enforced | None = None  # what is enforced on its worker process
    upgrades: int = 0  # of its loops, or of all of it
    restarts: int = 0  # of its worker process


@dataclass
class Boards:
    """What one look found. `unreadable`: boards that are none, or too many of one user's."""

    jobs: list[RunningJob] = field(default_factory=list)
    unreadable: int = 0


class _Process:
    """One process for the time of a look: a process id may be given to another meanwhile."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.folder = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the process's folder."""
        os.close(self.folder)

    def uid(self) -> int:
        """Who started it, for limits: the folder of a program that is setuid is root's."""
        return (self.status("Uid") or [-1])[0]

    def status(self, name: str) -> list[int]:
        """Return the numbers of one line of its status file."""
        fd = os.open("status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder)
        with open(fd, encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith(f"{name}:"):
                    return [int(word) for word in line.split()[1:]]
        return []

    def descriptors(self) -> Iterator[tuple[int, bool]]:
        """Each open descriptor, and whether it is named as boards are."""
        listing = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.folder)
        try:
            with os.scandir(listing) as entries:
                for entry in islice(entries, DESCRIPTORS_MAX):
                    named = False
                    with contextlib.suppress(OSError):  # closed meanwhile
                        named = os.readlink(entry.name, dir_fd=listing) == TARGET
                    yield int(entry.name), named
        finally:
            os.close(listing)


class _Look:
    """One look at every process."""

    def __init__(self) -> None:
        self.found = Boards()
        self.descriptors: Counter[int] = Counter()  # by user
        self.boards: Counter[int] = Counter()

    def process(self, pid: int) -> None:
        """Read the first valid board of a process."""
        process = _Process(pid)
        try:
            user, seen = process.uid(), 0
            for fd, named in process.descriptors():
                self.descriptors[user] += 1
                seen += named
                if self.descriptors[user] > USER_DESCRIPTORS_MAX or seen > NAMED_MAX:
                    return
                if named and self._board(process, fd):
                    return
        finally:
            process.close()

    def _board(self, process: _Process, number: int) -> bool:
        """Read one board. Return True when it was this process's own: no other is looked for."""
        try:
            place = os.open(f"fd/{number}", os.O_PATH | os.O_CLOEXEC, dir_fd=process.folder)
        except OSError:
            return False  # gone
        try:
            if not is_memfd(place):
                self.found.unreadable += 1
                return False
            owner = os.stat(place).st_uid
            if owner not in process.status("Uid"):
                return False  # somebody sent it there
            self.boards[owner] += 1
            if self.boards[owner] > USER_BOARDS_MAX:
                self.found.unreadable += 1
                return True
            return self._take(process, place)
        except (FileNotFoundError, ProcessLookupError):
            return False  # the process has ended
        except (OSError, ValueError):
            self.found.unreadable += 1
            return False
        finally:
            os.close(place)

    def _take(self, process: _Process, place: int) -> bool:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(f"/proc/self/fd/{place}", flags)
        try:
            job = _read(fd)
        finally:
            os.close(fd)
        if job is None or job.pid not in process.status("NSpid"):
            return False  # not yet published, or a child has inherited it
        job.pid = process.pid
        self.found.jobs.append(job)
        return True


def _read(fd: int) -> RunningJob | None:
    """Read the board in an open memfd; None: not yet published. Raise OSError, ValueError."""
    for _ in range(ATTEMPTS):
        before, job = _written(fd), None
        if before % 2:
            time.sleep(NAP_S)
            continue
        try:
            job, error = _read_once(fd), None
        except ValueError as found:  # perhaps of two headers
            error = found
        if _written(fd) == before:
            break
        time.sleep(NAP_S)
    else:
        raise ValueError("it changes all the time")
    if error:
        raise error
    return job


def _written(fd: int) -> int:
    """Return how often a board's header was written; odd: it is just now."""
    octets = os.pread(fd, schema.WRITTEN.size, schema.WRITTEN_AT).ljust(schema.WRITTEN.size, b"\0")
    return int(schema.WRITTEN.unpack(octets)[0])


def _read_once(fd: int) -> RunningJob | None:
    if fcntl.fcntl(fd, F_GET_SEALS) & SEALS != SEALS:
        raise ValueError("it may change its size")
    prefix = os.pread(fd, schema.PREFIX.size, 0)
    if len(prefix) != schema.PREFIX.size:
        raise ValueError("too short")
    magic, counter_bytes, queues, text_bytes = schema.PREFIX.unpack(prefix)
    if magic == bytes(len(magic)):
        return None
    if magic != schema.MAGIC or counter_bytes != COUNTER_BYTES:
        raise ValueError("no board of this version")
    if not (0 < queues <= schema.QUEUES_MAX and text_bytes <= schema.TEXT_MAX):
        raise ValueError("too much")
    counters_at = schema.PREFIX.size + schema.TEXT_MAX
    if os.fstat(fd).st_size != counters_at + queues * COUNTER_BYTES:
        raise ValueError("not as long as it says")
    header = schema.parse(os.pread(fd, text_bytes, schema.PREFIX.size), COUNTERS)
    if len(header.queues) > queues:
        raise ValueError("more queues than it has counters for")
    data = os.pread(fd, len(header.queues) * COUNTER_BYTES, counters_at)
    now, uid = time.monotonic(), os.fstat(fd).st_uid
    ports = _ports(header, data)
    replaced = schema.REPLACED.unpack_from(prefix, schema.REPLACED_AT)
    started, sandbox = header.started_ns, header.sandbox
    return RunningJob(header.pid, uid, now, header.command, started, ports, sandbox, *replaced)


def _ports(header: schema.Header, data: bytes) -> list[RunningPort]:
    blocks = [
        ffi.from_buffer("struct counters *", data[start : start + COUNTER_BYTES])
        for start in range(0, len(data), COUNTER_BYTES)
    ]
    if len(blocks) != len(header.queues):
        raise ValueError("too short")
    queues: list[list[tuple[str, c.Counters]]] = [[] for _ in header.ports]
    for row, block in zip(header.queues, blocks, strict=True):
        queues[row.port].append((row.direction, block))
    return [
        RunningPort(
            port=port.port,
            driver=port.driver,
            drops=drops_by_reason(block for _, block in own),
            statistics=statistics_of(port.driver, (block for _, block in own)),
            sleeps=sum(int(block.sleeps) for _, block in own),
            **port_counters(own, port.unknown),
        )
        for port, own in zip(header.ports, queues, strict=True)
    ]


def look(pid: int | None = None) -> Boards:
    """Return every job that this user may look at, or that of one process: one's own first, then
    the oldest. A start is what a board says, and nobody may push others' jobs off the screen with
    that.
    """
    looking = _Look()
    names = os.listdir("/proc") if pid is None else [str(pid)]
    for name in filter(str.isdigit, names):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            looking.process(int(name))
    me = os.geteuid()
    looking.found.jobs.sort(key=lambda job: (job.uid != me, job.started_ns))
    return looking.found


def running_jobs() -> list[RunningJob]:
    """Return the jobs of one look."""
    return look().jobs
