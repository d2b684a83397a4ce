# SPDX-License-Identifier: Apache-2.0
"""What every run needs: processes that can't be left behind, huge pages, a veth pair of its own."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
HUGE_WANTED = 512  # of 2 MiB: two testpmd at 256 MiB each, and the pools of uspnet
NO_MEMORY = ["--no-huge", "--no-pci", "--in-memory", "-m", "64"]  # DPDK, only to be asked
GRACE_S = 5.0  # to end after being asked to


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


class Missing(BenchError):
    """A program that is needed is not there: trying again is of no use."""


def pinned(command: Sequence[str], core: int | str, netns: str | None = None) -> list[str]:
    """`command` on one core (or several, as taskset has them), in a network namespace if given; it
    dies when this process does.
    """
    inside = ["ip", "netns", "exec", netns] if netns else []
    return ["setpriv", "--pdeathsig", "KILL", *inside, "taskset", "-c", str(core), *command]


class Process:
    """A child with its output as a stream of lines. It has ended when the `with` block has."""

    def __init__(self, command: Sequence[str], core: int | str, netns: str | None = None) -> None:
        self.name = Path(command[0]).name
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.child = subprocess.Popen(
            pinned(command, core, netns),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is ours: we end it in good order
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def say(self, text: str) -> None:
        """Write one line to its stdin."""
        assert self.child.stdin
        try:
            self.child.stdin.write(text + "\n")
            self.child.stdin.flush()
        except OSError:
            raise self.failed("has ended") from None

    def line(self, deadline: float) -> str:
        """Its next line. `deadline` is in time.monotonic()."""
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise self.failed("did not answer in time") from None
        if line is None:
            raise self.failed("has ended")
        self.said.append(line)
        return line

    def failed(self, what: str) -> BenchError:
        """Return the error to raise: what went wrong, and the end of the output."""
        return BenchError(f"{self.name} {what}\n" + "".join(self.said[-12:]))

    def end(self) -> None:
        """Wait for its end; send SIGINT after a while, then SIGKILL."""
        for number in (0, signal.SIGTERM, signal.SIGKILL):
            if number:
                self.child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(GRACE_S)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)  # its own children, if it left any
        for stream in (self.child.stdin, self.child.stdout):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()

    def interrupt(self) -> None:
        """End it and its children as Ctrl-C on a terminal does."""
        os.killpg(self.child.pid, signal.SIGINT)

    def ready(self) -> None:
        """Wait until it can be used."""

    def __enter__(self) -> Self:
        try:
            self.ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if any(exc):
            self.kill()
        else:
            self.end()

    def kill(self) -> None:
        """Kill it."""
        self.child.kill()
        Process.end(self)


def need(*tools: str) -> None:
    """Raise BenchError when one of the programs is missing."""
    for tool in tools:
        if not shutil.which(tool):
            raise Missing(f"{tool} is not installed")


@contextlib.contextmanager
def huge_pages() -> Iterator[int]:
    """Inside, there are huge pages if that can be arranged. Gives their number."""
    before = int(HUGE_PAGES.read_text())
    changed = False
    if before < HUGE_WANTED and os.geteuid() == 0:
        HUGE_PAGES.write_text(str(HUGE_WANTED))
        changed = True
    try:
        yield int(HUGE_PAGES.read_text())
    finally:
        if changed:
            HUGE_PAGES.write_text(str(before))


def huge_pages_free() -> int:
    """Of 2 MiB, which nobody uses: others may have taken those that we made, or removed them."""
    found = re.search(r"HugePages_Free:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(found[1]) if found else 0


@contextlib.contextmanager
def veth(suffix: str = "", queues: int = 1) -> Iterator[str]:
    """Make a network namespace with one veth pair, `b0` and `b1`. Yield its name."""
    if os.geteuid() != 0:
        raise BenchError("a veth pair needs root")
    name = f"uspnet-bench-{os.getpid()}{suffix}"
    each = ["numtxqueues", str(queues), "numrxqueues", str(queues)]
    pair = ["link", "add", "b0", *each, "type", "veth", "peer", "name", "b1", *each]
    ip(None, "netns", "add", name)
    try:
        ip(name, *pair)
        for side in ("b0", "b1"):
            ip(name, "link", "set", side, "addrgenmode", "none", "up")
        yield name
    finally:
        ip(None, "netns", "delete", name)


def ip(netns: str | None, *words: str) -> str:
    """Run iproute2's `ip` inside a namespace; return its output."""
    where = ["-n", netns] if netns else []
    done = subprocess.run(["ip", *where, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def received_by(netns: str, interface: str) -> int:
    """Packets that the kernel says the interface has received."""
    link = json.loads(ip(netns, "-s", "-j", "link", "show", "dev", interface))[0]
    return int(link["stats64"]["rx"]["packets"])


@contextlib.contextmanager
def place(name: str, where: str | None = None) -> Iterator[Path]:
    """Yield a path for one socket or file, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="uspnet-bench-", dir=where) as folder:
        yield Path(folder) / name


def facts(pages: int) -> dict[str, object]:
    """Return what the figures depend on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": said(["gcc", "--version"]),
        "dpdk": said(["dpdk-testpmd", "-v", *NO_MEMORY, "--help"], "RTE Version"),
        "huge_pages_2m": pages,
        "load_before": os.getloadavg()[0],
        "uspnet_commit": said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
        "cffi": importlib.metadata.version("cffi"),
    }


def said(command: list[str], word: str = "") -> str | None:
    """Return the first line of a program's output (with `word` in it), or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if word in line]
    return lines[0].strip() if lines else None
