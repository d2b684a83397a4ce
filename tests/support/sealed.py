# SPDX-License-Identifier: Apache-2.0
"""Children in the sandbox of worker processes, and what they try there."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import socket
import sys
import traceback
from functools import partial
from pathlib import Path

from uspnet.fastpath import ffi, lib
from uspnet.sandbox.calls import BASE, call_name, number
from uspnet.sandbox.seccomp import seal

MACHINE = os.uname().machine
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    """The system call, ready to be made: nothing is allocated or looked up then."""
    made = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return partial(LIBC.syscall, ctypes.c_long(number(name, MACHINE)), *made)


def named(name, on_arm):
    """Some calls are others on aarch64, with a descriptor before the path."""
    return (name, ()) if MACHINE == "x86_64" else (on_arm, (-100,))


OPEN, AT = named("open", "openat")
CHMOD, _ = named("chmod", "fchmodat")
ATTEMPTS = {  # what is tried, and the call by which the sandbox names it
    "open": (OPEN, (*AT, b"/etc/passwd", os.O_RDONLY)),
    "openat": ("openat", (-100, b"/etc/passwd", os.O_RDONLY)),
    "inet": ("socket", (socket.AF_INET, socket.SOCK_DGRAM, 0)),
    "packet": ("socket", (socket.AF_PACKET, socket.SOCK_RAW, 0)),
    "unix": ("socket", (socket.AF_UNIX, socket.SOCK_STREAM, 0)),
    "execve": ("execve", (b"/bin/true", 0, 0)),
    "ptrace": ("ptrace", (0, 0, 0, 0)),
    "bpf": ("bpf", (0, 0, 0)),
    "mount": ("mount", (b"none", b"/mnt", b"tmpfs", 0, 0)),
    "kill": ("kill", (os.getpid(), 0)),
    "kill by tgkill": ("tgkill", (os.getpid(), os.getpid(), 0)),
    "memfd": ("memfd_create", (b"x", 0)),
    "mmap to execute": ("mmap", (0, 4096, 5, 0x22, -1, 0)),
    "mprotect": ("mprotect", (0x10000, 4096, 5)),
    "connect": ("connect", (0, 0, 0)),
    "chmod": (CHMOD, (*AT, b"/tmp", 0o1777)),
    "setuid": ("setuid", (0,)),
    "io_uring": ("io_uring_setup", (1, 0)),
    "parent's memory": ("process_vm_readv", (os.getpid(), 0, 0, 0, 0, 0)),
    "own memory": ("openat", (-100, b"/proc/self/mem", os.O_RDWR)),
    "fork": ("clone", (17, 0, 0, 0, 0)),
}


def in_child(run):
    """Forks a child without capabilities that calls `run`; its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            gc.disable()
            error = lib.capabilities_drop(0)
            run()
            os._exit(error)
        except BaseException:  # noqa: BLE001 - the child ends here
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def sealed(run, names=BASE, before=lambda: None):
    """Like `in_child`, under the filter, after `before` has run. Also the name of the call that
    ended it, or None."""
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        refused = ffi.from_buffer("uint32_t[]", memory)

        def begin():
            before()
            assert seal(names, refused) == 0
            run()

        ended, number = in_child(begin), refused[0]
        ffi.release(refused)
    return ended, call_name(number - 1, MACHINE) if number else None


def status(process):
    """What /proc says of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
