# SPDX-License-Identifier: Apache-2.0
"""What processes under the filter of system calls can and can't do, tried on this kernel."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support.paths import ROOT
from tests.support.sealed import ATTEMPTS, call, sealed
from uspnet.fastpath import lib
from uspnet.sandbox.available import available
from uspnet.sandbox.calls import BASE

pytestmark = [
    pytest.mark.skipif(available().seccomp is None, reason="needs seccomp"),
    pytest.mark.skipif(bool(lib.built_with_asan()), reason="AddressSanitizer makes calls itself"),
]
REFUSED = -31  # SIGSYS: a shell shows 159


@pytest.mark.parametrize("what", ATTEMPTS)
def test_a_refused_call_ends_the_process_and_is_named(what):
    name, arguments = ATTEMPTS[what]
    assert sealed(call(name, *arguments)) == (REFUSED, name)


def test_a_thread_that_was_there_before_is_under_the_filter_too():
    attempt, begin = call("getppid"), threading.Event()
    wait, _ = os.pipe()

    def run():
        begin.set()
        os.read(wait, 1)

    def start():
        threading.Thread(target=lambda: (begin.wait(), attempt()), daemon=True).start()

    pythons_own_lock = {"futex"}
    assert sealed(run, BASE | pythons_own_lock, start) == (REFUSED, "getppid")


def test_what_a_worker_process_needs_is_allowed():
    read, write = os.pipe()
    os.write(write, b"x")
    spare, kick = os.dup(read), []

    def prepare():
        signal.signal(signal.SIGURG, signal.SIG_IGN)
        kick.append(call("tgkill", os.getpid(), os.getpid(), signal.SIGURG))

    def run():
        with mmap.mmap(-1, 1 << 20) as memory:
            memory[:1] = os.read(read, 1)
        os.dup2(read, spare, inheritable=False)  # dup3
        os.close(spare)
        assert kick[0]() == 0
        lib.ticks_now()

    assert sealed(run, before=prepare) == (0, None)
    for fd in (read, write, spare):
        os.close(fd)


def test_the_signal_of_another_process_ends_it_and_names_no_call():
    forever, _ = os.pipe()

    def send():
        parent = os.getpid()
        if os.fork() == 0:
            while os.getppid() == parent:  # before the filter is there, it ends nothing
                os.kill(parent, signal.SIGSYS)
                time.sleep(0.001)
            os._exit(0)

    assert sealed(lambda: os.read(forever, 1), before=send) == (REFUSED, None)


GUARD = """
import mmap, os
from uspnet.fastpath import ffi, lib
from uspnet.sandbox.calls import BASE
from uspnet.sandbox.seccomp import seal
lib.capabilities_drop(0)
refused, fault = ffi.new("uint32_t *"), ffi.new("uint32_t *")
guarded, other = os.memfd_create("guarded"), os.memfd_create("other")
for fd in (guarded, other):
    os.ftruncate(fd, 4096)
at, memory = ffi.cast("uint8_t *", lib.memory_map(guarded, 4096, 0, 0)), mmap.mmap(other, 4096)
lib.guard_install()
lib.guard_add(at, 4096, fault)
for fd in (guarded, other):
    os.ftruncate(fd, 0)
assert seal(BASE | {"write"}, refused) == 0
at[0] = 1
os.write(1, b"%d %d" % (fault[0] == lib.FAULT_MEMORY, refused[0]))
memory[0] = 1
"""


def test_truncated_memory_is_a_fault_where_guarded_and_else_the_end():
    """The end is SIGBUS: the handler needs no call that the filter would refuse."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {GUARD}"],
        stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, b"1 0")
