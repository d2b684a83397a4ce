# SPDX-License-Identifier: Apache-2.0
"""Processes: uspnet's, its children, and another user's."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.waiting import scaled, until
from uspnet.fastpath import lib
from uspnet.system import processes

NOBODY = 65534
PR_SET_KEEPCAPS = 8


def children_of(parent):
    """Process ids of the children of a process, whichever of its threads has started them."""
    found = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def children_named(parent, part):
    """Process ids of the children of a process in whose name, as /proc tells it, is `part`."""
    return [pid for pid in children_of(parent) if part in name_of(pid)]


def name_of(pid):
    """The name of a process, as /proc tells it; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def descendants_of(parent):
    """Process ids of the children of a process, of theirs, and so on."""
    found = children_of(parent)
    for child in found:  # which grows meanwhile
        found += children_of(child)
    return found


def kill(process):
    """Kills a process that was started here, and waits for those that it has started itself: they
    may have work to finish.
    """
    process.send_signal(signal.SIGSTOP)  # it shall start no other one while we look
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    others = descendants_of(process.pid)
    process.kill()
    process.wait()
    until(lambda: not any(map(alive, others)))


def session(leader):
    """The processes of a session."""
    found = []
    for pid in processes.pids():
        with contextlib.suppress(OSError):
            found += [pid] * (os.getsid(pid) == leader)
    return found


def opened():
    """The descriptors that this process has open, without those of garbage."""
    gc.collect()
    return sorted(os.listdir("/proc/self/fd"))


def descriptors():
    """How many there are of them."""
    return len(opened())


def alive(pid):
    """Does it run? A zombie that nobody reaps does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def as_nobody(call, *arguments, keep=0):
    """Calls a function as a user without privileges but for capabilities, a bit each. Returns its
    result as text, or the name of what it raised.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root: to be other users")
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(PR_SET_KEEPCAPS, int(keep != 0), 0, 0, 0)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            if keep:
                assert lib.capabilities_drop(keep) == 0
            said = str(call(*arguments))
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = type(error).__name__
        os.write(into, said.encode())
        os._exit(0)
    os.close(into)
    with open(out) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


class Running:
    """A uspnet process: started, known to be moving packets, and ended by a signal."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.said = ""

    def ports(self):
        """Its counters now, one dict a port; none before its workers run."""
        from uspnet.telemetry import look

        return [asdict(port) for job in look(self.process.pid).jobs for port in job.ports]

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def runs(self):
        return self.ports() and (self.threads() > 1 or children_of(self.process.pid))

    def wait(self):
        """Until its workers run."""
        until(lambda: self.runs() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()
        return self

    def hears(self, text, seconds=10.0):
        """Waits until it has said something on stderr."""
        fd = self.process.stderr.fileno()

        def heard():
            if select.select([fd], [], [], 0)[0]:
                self.said += os.read(fd, 65536).decode()
            return text in self.said

        until(heard, seconds, why=lambda: f"{text!r} is not in {self.said!r}")
        self.said = self.said.partition(text)[2]

    def count(self, name):
        return sum(port[name] for port in self.ports())

    def end(self, number=signal.SIGINT):
        """Ends it with a signal. Returns its JSON object."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=scaled(60))
        assert self.process.returncode == 0, err
        return answer(out)

    def ends(self):
        """Waits for it to end by itself. Returns exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=scaled(60))
        return self.process.returncode, out, err
