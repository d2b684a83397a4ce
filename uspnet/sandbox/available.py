# SPDX-License-Identifier: Apache-2.0
"""What this kernel can enforce, tried on a child process."""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import signal
from dataclasses import replace

from uspnet.fastpath import ffi, lib
from uspnet.sandbox.calls import BASE
from uspnet.sandbox.enforced import Enforced, observe
from uspnet.sandbox.seccomp import seal
from uspnet.system import child, privileges


class _Trial:
    """Pipes and memory shared with the child."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.landlock = ffi.from_buffer("int32_t[]", memory)
        self.refused = ffi.cast("uint32_t *", self.landlock + 1)
        self.sealed, self.close_when_sealed = os.pipe()
        self.wait_for_end, self.end = os.pipe()

    def run(self) -> None:
        """Be confined, wait, and make a call that is not allowed. Runs in the child."""
        gc.disable()  # what it frees could make other calls
        for ours in (self.sealed, self.end):
            os.close(ours)
        lib.child_confine(ffi.new("struct child *", {"user": privileges.nobody()}))
        self.landlock[0] = lib.sandbox_landlock()
        seal(BASE, self.refused)
        os.close(self.close_when_sealed)
        os.read(self.wait_for_end, 1)
        os.getppid()

    def close(self) -> None:
        """Close the pipes, and release the memory."""
        for fd in (self.sealed, self.wait_for_end, self.end):
            os.close(fd)
        ffi.release(self.landlock)


def available() -> Enforced:
    """Return what a worker process without ports would have enforced on it here."""
    with mmap.mmap(-1, mmap.PAGESIZE) as memory, contextlib.closing(_Trial(memory)) as trial:
        process = child.fork(trial.run)
        os.close(trial.close_when_sealed)
        os.read(trial.sealed, 1)
        enforced = observe(process, trial.landlock[0], len(BASE))
        os.write(trial.end, b"x")
        _, status = os.waitpid(process, 0)
        ends = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS
    if enforced.seccomp and not ends:
        missing = [*enforced.missing, "seccomp that ends a process"]
        return replace(enforced, seccomp=None, missing=missing)
    return enforced
