# SPDX-License-Identifier: Apache-2.0
"""A worker: one thread, on one core, inside one long C call over queues that it alone owns."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import DeviceTimeout, NoDevice, NoMemory
from uspnet.fastpath import ffi, lib
from uspnet.jobs.choices import Poll
from uspnet.jobs.loops import Loop
from uspnet.jobs.pulse import Chance
from uspnet.memory import new
from uspnet.port import Queue
from uspnet.process.protocol import KICK
from uspnet.process.worker import WorkerProcess
from uspnet.system.bell import Bell

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import AnyQueue, Pointer, Stack
    from uspnet.jobs.plan import Limits

LOOKS = 8  # at both clocks: a thread may be interrupted between the two
SPIN_S = 50e-6  # an adaptive worker spins this long without work before it sleeps
NAP_S = 0.0001  # between two looks at what a worker does
JOIN_S = 2.0  # for a loop to end, besides the time for which its rings may block
STOP_S = 5.0  # the same, where nobody waits for it alone
KICK_S = 0.05  # a worker that does not answer for so long is kicked
TIMES = ("start", "first", "idle_since", "deadline")  # in ticks; 0: not yet, or none
POLL_MODES = {
    Poll.busy: lib.POLL_BUSY,
    Poll.adaptive: lib.POLL_ADAPTIVE,
    Poll.sleep: lib.POLL_SLEEP,
}


class Clock:
    """The rate of the C loops' cycle counter, measured against the kernel's raw clock."""

    def __init__(self) -> None:
        self._ticks, self._ns = self._look()

    def _look(self) -> tuple[int, int]:
        """Read both clocks at once: of several pairs, the one read in the shortest time."""
        _, ticks, ns = min(self._pair() for _ in range(LOOKS))
        return ticks, ns

    def _pair(self) -> tuple[int, int, int]:
        """Return the ticks that the reading took, and the counter and the clock in between."""
        before = int(lib.ticks_now())
        ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        after = int(lib.ticks_now())
        return after - before, (before + after) // 2, ns

    def hz(self) -> int:
        """Return the ticks per second. Waits until 20 ms have passed since the clock was made."""
        time.sleep(max(0.0, 0.02 - (self._look()[1] - self._ns) / 1e9))
        ticks, ns = self._look()
        return round((ticks - self._ticks) * 1_000_000_000 / (ns - self._ns))


@dataclass
class Lane:
    """A receive queue and the transmit queues that its packets may leave by. Without the first,
    packets are made there; without any of the others, they end there.
    """

    rx: Queue | None = None
    exits: Sequence[Queue] = ()


@dataclass
class Worker:
    """A loop, its lanes, and the thread that runs it on them."""

    loop: Loop
    lanes: Sequence[Lane]
    stack: Stack
    core: int | None = None

    def __post_init__(self) -> None:
        self.bell = Bell()
        self.c_lanes = new("struct lane[]", len(self.lanes))
        self.c_exits = [new("struct exit[]", max(1, len(lane.exits))) for lane in self.lanes]
        for c, exits, lane in zip(self.c_lanes, self.c_exits, self.lanes, strict=True):
            c.rx = lane.rx.base if lane.rx else ffi.NULL
            c.exits, c.n_exits = exits, len(lane.exits)
            for each, queue in zip(exits, lane.exits, strict=False):
                each.tx = queue.base
        self.c = self.loop.worker
        lib.kick_install(KICK)
        self.c.wake_fd, self.c.stack = self.bell.fd, self.stack
        self.c.lanes, self.c.n_lanes = self.c_lanes, len(self.lanes)
        self.thread = threading.Thread(target=self._run, name="uspnet-worker", daemon=True)
        self.process: WorkerProcess | None = None  # where it runs, if not in this process
        self.started = False
        self.hz = 0  # ticks per second
        self.joined = False  # nobody will start it again
        self.pausing = False  # it has been asked to pause
        self._end = float("inf")  # when a loop that was stopped has to be over

    @property
    def queues(self) -> list[Queue]:
        """Return every queue that this worker owns, each once."""
        ends = [queue for lane in self.lanes for queue in (lane.rx, *lane.exits) if queue]
        return list(dict.fromkeys(ends))

    @property
    def patience_s(self) -> float:
        """Return the seconds for which a call of its rings may block a process of its own."""
        if not self.process:
            return 0.0
        return max((queue.port.patience_s for queue in self.queues), default=0.0)

    def structs(self) -> list[AnyQueue]:
        """Return the C structs of its queues, by their own types."""
        return [queue.c for queue in self.queues]

    def stamp(self, *, ahead: bool = False) -> None:
        """Have time stamps carried beside the packets of every lane; and from file to file, what
        else a file records about a packet. `ahead`: lanes hold packets before they choose an exit.
        """
        for c, lane in zip(self.c_lanes, self.lanes, strict=True):
            arrives = c.exits[0].burst if c.n_exits == 1 and not ahead else c.received
            leaves = [(queue, c.exits[i].burst) for i, queue in enumerate(lane.exits)]
            for queue, burst in [(lane.rx, arrives), *leaves]:
                if not queue:
                    continue
                queue.base.stamps = burst.stamps
                if lane.rx and lane.rx.port.knows_origins:
                    queue.base.origins = burst.origins

    def limit(self, limits: Limits, hz: int, budget: Pointer[int] | None) -> None:
        """Set how the loop behaves and, unless `budget` is None, when it ends. `hz`: ticks per
        second.
        """
        c = self.c
        c.poll, c.burst = POLL_MODES[Poll(limits.poll)], limits.burst
        self.hz = c.ticks_hz = hz
        self.loop.set_clock(hz)
        c.spin = int(SPIN_S * hz)
        if budget is not None and limits.duration is not None:
            c.deadline = lib.ticks_now() + int(limits.duration * hz)
        if budget is not None and limits.count is not None:
            c.budget = budget

    def _run(self) -> None:
        if self.core is not None:
            os.sched_setaffinity(0, {self.core})  # 0: this thread alone
        self.loop.run()

    def start(self) -> None:
        """Start the loop. Raises NoMemory."""
        if self.process:
            self.take_turn(self.process)
        else:
            self._start_thread()
        self.started = True

    def take_turn(self, process: WorkerProcess) -> None:
        """Let a process run the loop, whose thread there may sleep."""
        process.give_turn(self.c)
        self.bell.ring()

    def _start_thread(self) -> None:
        try:
            self.thread.start()
        except RuntimeError:
            raise NoMemory("a worker can't get a thread", "see: ulimit -u, ulimit -v") from None

    def running(self) -> bool:
        """Return whether the loop still runs."""
        if not self.process:
            return self.thread.is_alive()
        return self.started and not self.over() and not self.process.dead()

    def unfinished(self) -> bool:
        """Return whether the loop has begun and not ended. Its process may have, and then another
        one goes on with it.
        """
        return self.started and not self.over() if self.process else self.thread.is_alive()

    def over(self) -> bool:
        """Return whether the loop has ended that was started in another process."""
        return self.started and (self.joined or self.c.done == self.c.turn)

    def overdue(self) -> bool:
        """Return whether the loop still runs though it was stopped."""
        return time.monotonic() > self._end and self.running()

    def stop(self) -> None:
        """Ask the loop to end. Any thread or signal handler may, also after `close`."""
        with self.bell.lock:
            if self.bell.fd < 0:
                return
            self.c.stop = 1
            self._end = min(self._end, time.monotonic() + STOP_S + self.patience_s)
            self.bell.ring()

    def pause(self, deadline_s: float = 1.0) -> None:
        """Pause the loop: it touches nothing then. A process of its own is killed when it does not
        pause within `deadline_s`, though it could. Raises DeviceTimeout for a thread of ours.
        """
        end = time.monotonic() + deadline_s
        chance, kick_at = self._chance(deadline_s), end - deadline_s + KICK_S
        while self.running() and self.c.paused and not self.c.pause and time.monotonic() < end:
            time.sleep(NAP_S)  # it has not left the last pause yet
        self.c.pause, self.pausing = 1, True
        while self.running() and not self.c.paused:
            self.bell.ring()
            if chance and self.process and chance.had():
                self.process.kill()
            elif time.monotonic() > end and not self.process:
                self.resume()
                raise DeviceTimeout(f"a worker did not pause within {deadline_s:g} s")
            if time.monotonic() > kick_at:
                kick_at = time.monotonic() + KICK_S
                self.kick()
            time.sleep(NAP_S)

    def kick(self) -> None:
        """Interrupt a system call that blocks the worker, which a hostile peer can cause."""
        if not self.running():
            return
        if self.process:
            self.process.kick(self.c)
        elif self.thread.ident:
            signal.pthread_kill(self.thread.ident, KICK)

    def join(self) -> None:
        """Stop the loop and wait for its end. A process of its own is killed after JOIN_S."""
        self.stop()
        chance = self._chance(JOIN_S)
        while not self._ended_within(KICK_S):
            self.kick()
            if chance and self.process and chance.had():
                self.process.kill()
        self.joined = True

    def _chance(self, seconds: float) -> Chance | None:
        """Give the loop these seconds, in which it can act; None: it runs in a thread of ours."""
        if not self.process or not self.running():
            return None
        return Chance(self.process.pid, self.process.thread(self.c), seconds + self.patience_s)

    def _ended_within(self, seconds: float) -> bool:
        if not self.process:
            self.thread.join(seconds)
        end = time.monotonic() + seconds
        while self.process and self.running() and time.monotonic() < end:
            time.sleep(NAP_S)
        return not self.running()

    def reroute(self) -> list[str]:
        """Redirect packets of queues that have no ring (the peer has fewer) to another queue of the
        same port and worker. No loop runs. Return the ports where there is none.
        """
        stuck = []
        for c, lane in zip(self.c_lanes, self.lanes, strict=True):
            for number, queue in enumerate(lane.exits):
                leaves_by, port = queue, queue.port
                ways = [q for q in self.queues if q.port is port and q.direction == "tx"]
                if leaves_by.base.closed and (able := [q for q in ways if not q.base.closed]):
                    leaves_by = able[leaves_by.index % len(able)]
                c.exits[number].tx = leaves_by.base
                others = [q for q in port.made if q.direction == "tx" and not q.base.closed]
                stuck += [port.name] if leaves_by.base.closed and others else []
        return stuck

    def resume(self) -> None:
        """Resume the loop."""
        self.c.pause, self.pausing = 0, False

    def pass_over(self, seconds: float) -> None:
        """Move all times of the loop on: as for a job."""
        self._end += seconds
        for name in TIMES:
            if (ticks := getattr(self.c, name)) and not self.c.end:
                setattr(self.c, name, ticks + int(seconds * self.hz))
        if self.c.paused:
            self.loop.pass_over(int(seconds * self.hz))

    def close(self) -> None:
        """Free what the worker holds; its thread has ended."""
        self.bell.close()


def usable_cores(wanted: list[int] | None) -> list[int | None]:
    """Return the cores to pin workers to. Raises NoDevice for a core that may not be used."""
    allowed = os.sched_getaffinity(0)
    for core in wanted or []:
        if core not in allowed:
            listed = ", ".join(map(str, sorted(allowed)))
            raise NoDevice(
                f"core {core} does not exist, or is not in the CPU affinity",
                f"usable cores: {listed}",
            )
    return list(wanted) if wanted else [None]
