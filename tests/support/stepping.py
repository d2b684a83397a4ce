# SPDX-License-Identifier: Apache-2.0
"""Runs one call of a C function in a forked child, an instruction at a time, and shows the memory
as it is after each: what a process leaves that is killed there.

The child's memory is its own, at the addresses that it has here. So each step is copied over ours,
where a test may do with it what it likes: the next step overwrites that.
"""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from cffi import FFI

from uspnet import memory
from uspnet.fastpath import ffi

PTRACE = FFI()
PTRACE.cdef("long ptrace(long request, int pid, void *address, void *data);")
LIBC = PTRACE.dlopen(None)
TRACEME, PEEKTEXT, POKETEXT, CONT, SINGLESTEP, GETREGS, SETREGS = 0, 1, 4, 7, 9, 12, 13
REGISTERS, RIP, RSP = 27, 16, 19  # struct user_regs_struct of x86_64, in words
BREAKPOINT = 0xCC
STEPS_MAX = 1_000_000
Region = tuple[Any, int]  # where it begins, and its bytes

x86_only = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="stepping is written for x86_64"
)


def region(pointer: Any) -> Region:
    """The memory of a struct or array that cffi has allocated."""
    kind = ffi.typeof(pointer)
    return pointer, ffi.sizeof(pointer) if kind.kind == "array" else ffi.sizeof(kind.item)


def ask(request: int, pid: int, address: int = 0, data: Any = PTRACE.NULL) -> int:
    done = LIBC.ptrace(request, pid, PTRACE.cast("void *", address), PTRACE.cast("void *", data))
    return int(done)


class Stepper:
    """`function` is a pointer to the C function, which is called by it; `regions` are all that it
    may change, as far as the test looks at it.
    """

    def __init__(self, function: Any, arguments: Sequence[Any], regions: Sequence[Region]):
        self.address = int(ffi.cast("uintptr_t", function))
        self.function, self.arguments = function, arguments
        self.regions = [(int(ffi.cast("uintptr_t", at)), size) for at, size in regions]
        self.ours = [ffi.buffer(ffi.cast("char *", at), size) for at, size in regions]
        self.before = [bytes(each) for each in self.ours]
        self.registers = PTRACE.new("uint64_t[]", REGISTERS)

    def steps(self, stride: int = 1) -> Iterator[int]:
        """Yields the number of each instruction of the call, when its effect is in our memory; with
        `stride`, of every so manyth. At the end, our memory is as it was before.
        """
        pid = self._fork()
        try:
            self._run_to_start(pid)
            top = self._look(pid)[RSP]
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as theirs:
                for step in range(STEPS_MAX):
                    if step % stride == 0:
                        left = self._copy(theirs)
                        yield step
                        self._put(left)  # where the memory is shared, the child goes on with it
                    ask(SINGLESTEP, pid)
                    _, status = os.waitpid(pid, 0)
                    assert os.WIFSTOPPED(status), f"step {step}: ended by {status}"
                    assert os.WSTOPSIG(status) == signal.SIGTRAP, f"step {step}: got {status >> 8}"
                    if self._look(pid)[RSP] > top:
                        break  # it has returned
                self._copy(theirs)
                yield step
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._put(self.before)

    def _fork(self) -> int:
        hidden = list(memory._ours)
        memory._ours.clear()  # the child uses packet memory
        try:
            pid = os.fork()
        finally:
            memory._ours.update(hidden)
        if pid:
            return pid
        try:
            ask(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            self.function(*self.arguments)
        finally:
            os._exit(1)

    def _run_to_start(self, pid: int) -> None:
        """Runs the child until the function begins."""
        _, status = os.waitpid(pid, 0)
        assert os.WIFSTOPPED(status)
        word = ask(PEEKTEXT, pid, self.address)
        ask(POKETEXT, pid, self.address, word & ~0xFF | BREAKPOINT)
        ask(CONT, pid)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSTOPPED(status)
        assert os.WSTOPSIG(status) == signal.SIGTRAP
        ask(POKETEXT, pid, self.address, word)
        self._look(pid)[RIP] = self.address
        ask(SETREGS, pid, 0, self.registers)

    def _look(self, pid: int) -> Any:
        ask(GETREGS, pid, 0, self.registers)
        return self.registers

    def _copy(self, theirs: Any) -> list[bytes]:
        left = []
        for at, size in self.regions:
            theirs.seek(at)
            left.append(theirs.read(size))
        self._put(left)
        return left

    def _put(self, left: Sequence[bytes]) -> None:
        for ours, data in zip(self.ours, left, strict=True):
            ours[:] = data
