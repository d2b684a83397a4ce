# SPDX-License-Identifier: Apache-2.0
"""The process of one supervised job, and the lines that it prints."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator

from uspnet.answer import Json
from uspnet.system import children
from uspnet.system.launch import launch

OUT_MAX, LINE_MAX = 16 << 20, 8192  # bytes of a line on stdout and on stderr; the rest is cut
READ_BYTES = 1 << 16
EXITS = {1: "failed", 2: "wrong usage", 3: "refused", 4: "packets were lost"}
MEANT = {signal.SIGKILL: "by a user, or by the kernel for lack of memory"}


class Lines:
    """Cuts a stream into lines of at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._begun = b""
        self._cut = False  # the rest of a line that was too long is not wanted

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` completes."""
        *whole, rest = (self._begun + data).split(b"\n")
        for line in whole:
            if not self._cut:
                yield line[: self.most]
            self._cut = False
        self._begun = b"" if self._cut else rest
        if len(rest) > self.most and not self._cut:
            yield rest[: self.most]
            self._begun, self._cut = b"", True

    def end(self) -> Iterator[bytes]:
        """Yield what stands behind the last line break."""
        if self._begun and not self._cut:
            yield self._begun
        self._begun = b""


class Child:
    """A process of uspnet, isolated from the environment, in a session of its own: it gets its
    signals from us alone, and ends when we do. Only the main thread may start one.
    """

    def __init__(self, words: list[str], on_line: Callable[[str], None]) -> None:
        self.on_line = on_line
        self.on_report: Callable[[Json], None] = lambda _result: None
        self.result: Json | None = None  # the last one that it printed, or the result so far
        self.process = launch(children.uspnet(*words), os.getpid(), cwd=None)
        self.pid = self.process.pid
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:  # no descriptor is left
            self.process.kill()
            self.process.communicate()
            raise
        pipes = (self.process.stdout, self.process.stderr)
        self.out, self.err = (pipe.fileno() for pipe in pipes if pipe)
        self._lines = {self.out: Lines(OUT_MAX), self.err: Lines(LINE_MAX)}
        for fd in self._lines:
            os.set_blocking(fd, False)

    def descriptors(self) -> list[int]:
        """Return what is readable when there is something to do: lines, or the end."""
        return [*self._lines, self.pidfd]

    def read(self) -> None:
        """Take what the process has printed."""
        for fd, lines in list(self._lines.items()):
            with contextlib.suppress(BlockingIOError):
                while data := os.read(fd, READ_BYTES):
                    self._take(fd, lines.feed(data))
                self._take(fd, lines.end())
                del self._lines[fd]

    def _take(self, fd: int, lines: Iterator[bytes]) -> None:
        for line in lines:
            if fd == self.out:
                self._report(line)
            elif line.strip():
                self.on_line(line.decode(errors="surrogateescape"))

    def _report(self, line: bytes) -> None:
        """Keep a result; one of a run that goes on is passed on, too."""
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict):
                self.result = found
                if "error" not in found and found.get("ended", "") is None:
                    self.on_report(found)

    def ended(self) -> int | None:
        """Return its exit code, or minus the signal that ended it; None while it runs."""
        code = self.process.poll()
        if code is not None:
            self.read()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, and have it run if it was stopped."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the process if it still runs, and close what belongs to it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        os.close(self.pidfd)


def cause_of(code: int, result: Json | None) -> str:
    """Say in words why a process has ended. `code`: minus the signal, or the exit code."""
    if code < 0:
        try:
            number = signal.Signals(-code)
        except ValueError:
            return f"killed by signal {-code}"
        by = MEANT.get(number) or signal.strsignal(number)
        return f"killed by {number.name} ({by})"
    told = result or {}
    if "error" in told:
        return f"{told['error']}: {told.get('message', '')}"
    meant = EXITS.get(code)
    return "done" if code == 0 else f"exit code {code}" + (f": {meant}" if meant else "")
