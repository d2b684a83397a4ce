# SPDX-License-Identifier: Apache-2.0
"""Commands that start in a moment: forked from a process that has imported everything they import.

Most tests of the command line ask what a command says, not how it is loaded, and loading takes
longer than all that it does. Run as a program, this is that process. Its one argument is the number
of a socket, on which it gets commands, one after the other, with their standard descriptors.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, redirect_stdout, suppress
from pathlib import Path

from tests.support.paths import ROOT

REQUEST_BYTES = 1 << 20
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_SLAVE, MNT_DETACH = 1 << 14, 1 << 19, 2
LIBC = ctypes.CDLL(None, use_errno=True)


class Warm:
    """Runs commands in such a process, which it starts when it is needed."""

    def __init__(self):
        self.control, self.process = None, None

    def _started(self):
        if self.process and self.process.poll() is None:
            return self.control
        self.close()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", __name__, str(number)]
            self.process = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[number], stdin=subprocess.DEVNULL
            )
        return self.control

    def run(self, words, text=None, timeout_s=120.0, namespace=None):
        """Run `uspnet` with these words, and `text` on its stdin, to its end, in a network
        namespace where one is named. Returns and raises what subprocess.run does.
        """
        request = {"words": [*map(str, words)], "env": dict(os.environ), "cwd": os.getcwd()}
        request["namespace"] = namespace
        with ExitStack() as stack:
            given, *said = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
            given.write(text or "")
            given.seek(0)
            fds = [file.fileno() for file in (given, *said)]
            control = self._started()
            control.settimeout(timeout_s)
            socket.send_fds(control, [json.dumps(request).encode()], fds)
            pid = int(control.recv(100))
            try:
                status = int(control.recv(100))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                control.recv(100)
                raise subprocess.TimeoutExpired(words, timeout_s) from None
            for file in said:
                file.seek(0)
            code = os.waitstatus_to_exitcode(status)
            return subprocess.CompletedProcess(words, code, *(file.read() for file in said))

    def close(self):
        if self.control:
            self.control.close()
            self.process.wait()


def load():
    """Import all of uspnet, and what it imports when it runs."""
    uspnet = importlib.import_module("uspnet")
    for module in pkgutil.walk_packages(uspnet.__path__, "uspnet."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # Typer imports more when it first parses something.
    sys.argv = ["uspnet", "stats", "--json"]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), suppress(SystemExit):
        uspnet.cli.main()


def serve(control):
    """Fork a child for each command. Returns in the child, and when there are no more."""
    while True:
        request, fds, _, _ = socket.recv_fds(control, REQUEST_BYTES, 3)
        if not request:
            return None
        pid = os.fork()
        if pid == 0:
            for number, fd in enumerate(fds):
                os.dup2(fd, number)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            return json.loads(request)
        for fd in fds:
            os.close(fd)
        control.send(str(pid).encode())
        control.send(str(os.waitpid(pid, 0)[1]).encode())


def enter(namespace):
    """Be in a network namespace, with its /sys, as `ip netns exec` has it."""
    with Path("/run/netns", namespace).open() as file:
        call("setns", file.fileno(), CLONE_NEWNET)
    call("unshare", CLONE_NEWNS)
    call("mount", b"", b"/", None, MS_SLAVE | MS_REC, None)
    call("umount2", b"/sys", MNT_DETACH)
    call("mount", namespace.encode(), b"/sys", b"sysfs", 0, None)


def call(name, *arguments):
    """Call a function of the C library. Raises OSError."""
    if getattr(LIBC, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def become(request):
    """Go on as if Python had been started for this command."""
    if request["namespace"]:
        enter(request["namespace"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    sys.argv = ["uspnet", *request["words"]]
    runpy.run_module("uspnet", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    control = socket.socket(fileno=int(sys.argv[1]))
    load()
    importlib.import_module("scapy.layers.all")  # takes as long again, and few need it
    gc.freeze()
    if asked := serve(control):
        become(asked)
