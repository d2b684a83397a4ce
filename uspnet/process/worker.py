# SPDX-License-Identifier: Apache-2.0
"""A worker process, as the command's process sees it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Thread

from uspnet.errors import DeviceFault, DeviceTimeout, Incompatible, NoMemory, UspnetError
from uspnet.fastpath import c, ffi, lib
from uspnet.mapping import Mapping, mapping_at
from uspnet.memory import Data, new, struct_mappings, structs_held
from uspnet.process.protocol import functions, receive, send
from uspnet.process.reach import Reach
from uspnet.process.server import ERRNO_MAX, ForkServer
from uspnet.sandbox.calls import call_name
from uspnet.sandbox.enforced import Enforced, observe
from uspnet.system import child

ANSWER_S = 10.0  # for an order, also on a busy machine
END_S = 1.0
NAP_S = 0.0001
COLD = "add --cold: the job then stops for a moment"  # what to do when it can't be upgraded


@cache
def _ours() -> dict[int, str]:
    """Return the names of the fast path's functions in this process, by address."""
    return {address: name for name, address in functions().items()}


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):  # a real-time signal
        return signal.Signals(number).name
    return f"signal {number}"


@dataclass(frozen=True)
class Task:
    """What one thread of a worker process runs: a loop by its name, on a core or on any. `roots`:
    all structs that it uses, but for those that these lead to.
    """

    worker: c.Worker
    loop: str
    core: int | None
    roots: Sequence[c.CData]


class WorkerProcess:
    """The process that runs a job's loops, on memory and descriptors that it is given.

    Several may exist, of which one has the turn. `turn` is its number, from 1. `lent` returns the
    descriptors that it may have now. `calls`: that its sandbox allows; None: it is in none.
    """

    def __init__(
        self,
        server: ForkServer,
        tasks: Sequence[Task],
        turn: int,
        lent: Callable[[], Collection[int]],
        calls: Collection[str] | None = None,
    ) -> None:
        self.server, self.tasks, self.turn, self.calls = server, tasks, turn, calls
        self.lent = lent
        self.post = new("struct post *")
        self.hands = new("struct hand[]", len(tasks))
        self._status: int | None = None
        self.threads: list[int] = []  # their ids, in the order of the tasks
        self.enforced: Enforced | None = None  # what the kernel enforces on it, once it is loaded
        self.watcher: Thread | None = None  # runs `watch`
        self.quieted = True  # nothing is to be made quiet at its end: it has no rings, or has ended
        self.halted = False  # by `halt`
        self.reach: Reach | None = None  # what it was given last
        self._maps: dict[int, Mapping] = {}
        self._fds: set[int] = set()
        self._orders = 0
        self.pid, self._control, self.pidfd = server.fork()
        self._control.settimeout(ANSWER_S)

    def begin_watch(self, watch: Callable[[WorkerProcess], None]) -> None:
        """Have a thread call `watch` with this. Raises NoMemory."""
        watcher = Thread(target=watch, args=(self,), daemon=True)
        try:
            self._watched = os.dup(self.pidfd)  # of `watch`, which closes it
            watcher.start()
        except (OSError, RuntimeError) as error:
            self.close()
            text = f"a worker process can't be watched: {error}"
            raise NoMemory(text, "see: ulimit -n, -u, -v") from None
        self.watcher = watcher

    def load(self) -> None:
        """Give it memory and descriptors, and have it start its threads, which then wait for their
        turn. Raises DeviceFault, Incompatible.
        """
        for hand, task in zip(self.hands, self.tasks, strict=True):
            hand.worker, hand.post, hand.turn = task.worker, self.post, self.turn
            name = f"loop_{task.loop}"
            if name not in self.server.functions:
                raise Incompatible(f"it lacks the function {name}", COLD)
            hand.loop = ffi.cast("void(*)(struct worker *)", self.server.functions[name])
            hand.core = -1 if task.core is None else task.core
        self._hand_over(self.reach or self.look())
        message = {
            "post": int(ffi.cast("uintptr_t", self.post)),
            "hands": int(ffi.cast("uintptr_t", self.hands)),
            "threads": len(self.tasks),
            "calls": None if self.calls is None else sorted(self.calls),
        }
        try:
            send(self._control, message)
            answer, _ = receive(self._control)
        except OSError as error:
            raise self._failure(str(error.strerror)) from None
        if isinstance(answer, bytes):
            raise self._failure(self.cause() or "it ended")
        if answer["errno"]:
            raise self._failure(os.strerror(answer["errno"]))
        self._wait(lambda: bool(self.post.serving))
        self.threads = [int(hand.id) for hand in self.hands]  # before it can write other numbers
        self.enforced = observe(self.pid, answer["landlock"], len(self.calls or ()))
        if self.dead() and not self.post.refused:  # the job tells of calls that are refused
            raise self._failure(self.cause())

    def point(self) -> None:
        """Set all function pointers to its own functions. No loop runs, or all pause."""
        self.set_pointers(self.pointers())

    def pointers(self) -> dict[int, tuple[int, str]]:
        """Return what `point` would write: the address of each slot's function, and its name.
        Raises Incompatible for a function that it does not have.
        """
        offered = self.server.functions
        found = {}
        reach = self.reach or self.look()
        for slot, address in reach.slots.items():
            name = self._name_of(slot, address)
            if name not in offered:
                raise Incompatible(f"it lacks the function {name}", COLD)
            found[slot] = offered[name], name
        return found

    def set_pointers(self, pointers: dict[int, tuple[int, str]]) -> None:
        """Write what `pointers` has returned. No loop runs, or all pause."""
        for slot, (address, _) in pointers.items():
            ffi.cast("uintptr_t *", slot)[0] = address
        self.server.pointed.clear()
        self.server.pointed.update(pointers)

    def own(self, struct: c.Struct, name: str) -> Data:
        """Return our own function where a member of a struct is one of this process's."""
        value = getattr(struct, name)
        slot, address = (
            int(ffi.cast("uintptr_t", each)) for each in (ffi.addressof(struct, name), value)
        )
        function = self._name_of(slot, address)
        return ffi.addressof(lib, function) if function else value

    def _name_of(self, slot: int, address: int) -> str:
        """Return the name of the function whose address is in a slot; empty: it has none."""
        written, name = self.server.pointed.get(slot, (0, ""))
        if written == address:
            return name
        # A port has set it anew, to one of our own; or somebody has overwritten it; or it is that
        # of a process before this one.
        return _ours().get(address, name)

    def give_turn(self, worker: c.Worker) -> None:
        """Let its thread run a loop. No other thread may be within a round of it."""
        worker.paused = 0
        worker.turn = self.turn

    def follow(self) -> None:
        """Give it what `look` has found, take from it what that has not, and let it go on. Its
        loops pause. Raises DeviceFault.
        """
        self.go_on()
        self._hand_over(self.reach or self.look())
        self._wait_for_answer()
        self.point()

    def halt(self) -> None:
        """Have it change nothing until `go_on`. One that can't be stopped is killed, or raises
        DeviceTimeout.
        """
        self.halted, end = True, time.monotonic() + ANSWER_S
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGSTOP)
        except ProcessLookupError:
            return
        except PermissionError:
            self.kill()
        while not self.dead() and not self._has_stopped():
            if time.monotonic() > end:
                self.kill()
            time.sleep(NAP_S)

    def _has_stopped(self) -> bool:
        try:
            return bool(os.waitid(os.P_PIDFD, self.pidfd, os.WSTOPPED | os.WNOHANG))
        except ChildProcessError:
            return False  # it has ended, and `dead` says so

    def go_on(self) -> None:
        """Let it run again after `halt`."""
        if self.halted:
            self.halted = False
            child.send(self.pidfd, signal.SIGCONT)

    def kick(self, worker: c.Worker) -> None:
        """Interrupt a system call that blocks a thread, which a hostile peer can cause."""
        poll = select.poll()
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            poll.register(self._control, select.POLLOUT)
            if poll.poll(0):  # else it was stopped, and has more kicks than it can read
                self._send(lib.ORDER_KICK, fd=self._index(worker))

    def thread(self, worker: c.Worker) -> int:
        """Return the id of the thread that runs a loop."""
        return self.threads[self._index(worker)]

    def _index(self, worker: c.Worker) -> int:
        return next(i for i, task in enumerate(self.tasks) if task.worker == worker)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the process has ended, for so long at most. Return whether it has."""
        return self._status is not None or child.gone(self.pidfd, seconds)

    def watch(self) -> None:
        """Wait for its end, in a thread of its own. `close` may come first."""
        child.gone(self._watched)
        os.close(self._watched)

    def dead(self) -> bool:
        """Return whether the process has ended."""
        return self.wait(0)

    @property
    def status(self) -> int | None:
        """Return its exit code, or minus the signal that has ended it; None while it runs."""
        if self._status is None and self.dead():
            self._status = child.reaped(self.pidfd)
        return self._status

    def cause(self) -> str:
        """Return in words why it has ended; empty while it runs."""
        if (status := self.status) is None:
            return ""
        if status >= 0:
            return f"it exited with status {status}"
        if self.post.refused:
            name = call_name(self.post.refused - 1, os.uname().machine)
            return f"it called {name}, which the sandbox does not allow"
        by = "a fault in its code or memory"
        if -status == signal.SIGKILL:
            by = "by somebody, or by the kernel for want of memory"
        return f"it was ended by {_signal_name(-status)}: {by}"

    def kill(self) -> None:
        """Kill the process, whatever it does, and wait for its end. Raises DeviceTimeout when the
        kernel can't end it: a device may hold it.
        """
        self.server.kill(self.pidfd)
        if not self.wait(ANSWER_S):
            text = f"the worker process (process {self.pid}) can't be killed"
            raise DeviceTimeout(text, f"see: cat /proc/{self.pid}/stack")

    def close(self) -> None:
        """End it. Its loops have ended, or are not needed any more. May be called twice."""
        if self.pidfd < 0:
            return
        self._control.close()
        self.go_on()
        with contextlib.suppress(DeviceTimeout):
            if not self.wait(END_S):
                self.kill()
        if self.watcher:
            self.watcher.join(END_S)  # it has a descriptor
        self.cause()
        os.close(self.pidfd)
        self.pidfd = -1

    # -- orders ----------------------------------------------------------------------------------

    def look(self) -> Reach:
        """Find what structs lead to, since ports changed them. No worker runs."""
        self.reach = Reach([root for task in self.tasks for root in task.roots], self.lent())
        return self.reach

    @structs_held()
    def _hand_over(self, reach: Reach) -> None:
        """Take from it what is not reached any more, and give it the rest."""
        wanted = self._wanted(reach)
        for serial in self._maps.keys() - wanted.keys():
            gone = self._maps.pop(serial)
            fault = gone.fault or ffi.NULL
            self._order(lib.ORDER_UNMAP, start=gone.base, size=gone.size, fault=fault)
        for fd in self._fds - reach.fds:
            self._order(lib.ORDER_CLOSE, fd=fd)
        for serial in [number for number in wanted if number not in self._maps]:
            each = self._maps[serial] = wanted[serial]
            place = {"start": each.base, "size": each.size, "offset": each.offset}
            fault = each.fault or ffi.NULL
            self._order(lib.ORDER_MAP, each.fd, flags=each.flags, fault=fault, **place)
        for fd in reach.fds:  # a number may mean another descriptor than before
            self._order(lib.ORDER_TAKE, fd, fd=fd)
        self._fds = reach.fds

    def _wanted(self, reach: Reach) -> dict[int, Mapping]:
        """Return the mappings it needs, by serial: those that guards write to come first."""
        wanted = {each.serial: each for each in struct_mappings()}
        wanted |= {n: each for n, each in reach.maps.items() if mapping_at(each.address) is each}
        faults = [int(ffi.cast("uintptr_t", each.fault)) for each in wanted.values() if each.fault]
        guards = [each for fault in faults if (each := mapping_at(fault))]
        return {each.serial: each for each in guards} | wanted

    def _order(self, kind: int, descriptor: int = -1, **members: object) -> None:
        try:
            self._send(kind, descriptor, **members)
        except OSError as error:
            raise self._failure(self.cause() or str(error.strerror)) from None

    def _send(self, kind: int, descriptor: int = -1, **members: object) -> None:
        order = ffi.new("struct order *", {"kind": kind, "number": self._orders + 1, **members})
        send(self._control, bytes(ffi.buffer(order)), descriptor)
        self._orders += 1

    def _wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + ANSWER_S
        while not until() and not self.dead():
            if time.monotonic() > end:
                raise DeviceTimeout("the worker process does not answer", "see: uspnet stats")
            time.sleep(NAP_S)

    def _wait_for_answer(self) -> None:
        self._wait(lambda: self.post.answered == self._orders)
        if self.post.error:
            raise self._failure(os.strerror(self.post.error & ERRNO_MAX))

    def _failure(self, why: str) -> UspnetError:
        return DeviceFault(f"the worker process failed: {why}", self.server.instead)
