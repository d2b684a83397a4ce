# SPDX-License-Identifier: Apache-2.0
"""`uspnet run` as its users meet it, and a service manager for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter

import pytest

from tests.support.waiting import scaled, until

COMMAND = [sys.executable, "-m", "uspnet", "run"]


class Run:
    """`uspnet run` on a file of ours, its log, and a service manager's socket."""

    def __init__(self, folder, jobs, *words, variables=()):
        self.file, self.log = folder / "jobs.yaml", folder / "log"
        self.write(jobs)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.setblocking(False)
        self.told = []
        notify = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "400000"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, str(self.file), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env={**os.environ, **notify, **dict(variables)},
            )

    def write(self, jobs):
        self.file.write_text(jobs if isinstance(jobs, str) else json.dumps({"jobs": jobs}))

    def lines(self):
        return self.log.read_text().splitlines()

    def logs(self, text, times=1):
        """Wait until so many lines have this text; return the last of them."""
        found = until(
            lambda: len(each := [line for line in self.lines() if text in line]) >= times and each,
            seconds=30,
            why=lambda: f"{text!r} is not {times} times in:\n" + "\n".join(self.lines()),
        )
        return found[-1]

    def tells(self, text, times=1):
        def heard():
            while True:
                try:
                    self.told += self.manager.recv(65536).decode().split("\n")
                except BlockingIOError:
                    return self.told.count(text) >= times

        until(heard, seconds=30, why=lambda: f"{text} is not {times} times in {Counter(self.told)}")

    def pid(self, job, start=1):
        """The process id of a job's latest start."""
        return int(self.logs(f" {job}: started: ", start).rpartition(" ")[2])

    def ends(self, code=0):
        out, _ = self.process.communicate(timeout=scaled(60))
        assert self.process.returncode == code, "\n".join(self.lines())
        return out

    def end(self, number=signal.SIGTERM, code=0):
        self.process.send_signal(number)
        return self.ends(code)


@pytest.fixture
def supervise(tmp_path):
    """Starts `uspnet run`; what still runs at the end is killed."""
    started = []

    def launch(jobs, *words, **how):
        started.append(Run(tmp_path, jobs, *words, **how))
        return started[-1]

    yield launch
    for each in started:
        each.process.kill()
        each.process.communicate()
        each.manager.close()
