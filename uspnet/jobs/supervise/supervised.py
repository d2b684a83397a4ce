# SPDX-License-Identifier: Apache-2.0
"""One supervised job: its process, how often it was started, and what comes next."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable

from uspnet.answer import Json
from uspnet.jobs.supervise.child import Child, cause_of
from uspnet.jobs.supervise.entry import Entry, Level, Restart
from uspnet.jobs.supervise.result import JobOutcome, State
from uspnet.system.processes import is_stuck
from uspnet.telemetry import look
from uspnet.text import printable

CODES_MAX = 100  # exit codes that are kept
DELAY_MAX_S = 60.0  # between two restarts, unless the file asks for more
STOP_S = 20.0  # how long a graceful end may take: a job waits up to 12 s for its peers
STUCK_S = 3.0  # an upgrade stops a process for about a second, which is none
FINAL = frozenset({2, 3})  # exit codes of wrong usage and of a refusal: a restart changes nothing
ASKED = frozenset({signal.SIGINT, signal.SIGTERM})
CAUSE_MAX = 2000  # characters

Tell = Callable[[Level, str], None]


class Supervised:
    """A job of the file. `due`: when to start it again; `successor`: its entry from then on;
    `is_ending`: somebody wants it to end; `is_removed`: for good.
    """

    def __init__(self, entry: Entry, tell: Tell) -> None:
        self.entry, self.tell = entry, tell
        self.on_result: Callable[[Json], None] = lambda _result: None
        self.state: State = "waiting"
        self.child: Child | None = None
        self.was_ready = self.is_ending = self.is_removed = False
        self.successor: Entry | None = None
        self.restarts = self.starts = 0
        self.exit_codes: deque[int] = deque(maxlen=CODES_MAX)
        self.cause = "not started"
        self.result: Json | None = None
        self.due = 0.0
        self._restarted: list[float] = []  # when, within the limit's time
        self._kill_at = 0.0
        self._stuck_since = float("inf")

    # -- what it is doing ------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Return whether there is nothing to wait for."""
        return self.state in {"done", "failed"}

    @property
    def is_settled(self) -> bool:
        """Return whether its start is over, well or not."""
        return self.was_ready or self.is_over

    def is_stuck(self, now: float) -> bool:
        """Return whether a thread of a running job does nothing: somebody stopped it, say. `now` is
        the monotonic time.
        """
        stuck = self.child and self.state == "ready" and is_stuck(self.child.pid)
        self._stuck_since = min(self._stuck_since, now) if stuck else float("inf")
        return now - self._stuck_since > STUCK_S

    def outcome(self) -> JobOutcome:
        """Return what is to be said of it."""
        return JobOutcome(
            job=self.entry.name,
            runs=self.entry.command,
            state=self.state,
            restarts=self.restarts,
            exit_codes=list(self.exit_codes),
            cause=self.cause,
            result=self.result,
        )

    # -- start -----------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Start its process; `now` is the monotonic time."""
        self.starts += 1
        self.state, self._kill_at, self.result = "starting", 0.0, None
        words = [self.entry.command, "--json", *self.entry.words]
        try:
            self.child = Child(words, lambda line: self.tell(Level.info, line))
        except OSError as error:  # no more processes, memory or descriptors
            self.cause = f"can't be started: {error.strerror}"
            self._go_on(1, now, self.cause, again=self._wants_restart(1))
            return
        self.child.on_report = self.on_result
        self.tell(Level.info, f"started: uspnet {self.entry.command}, process {self.child.pid}")

    def look(self) -> None:
        """See whether a starting job runs: it has published its counters."""
        if self.child and self.state == "starting" and look(self.child.pid).jobs:
            self.state, self.was_ready = "ready", True
            self.tell(Level.info, "ready")

    # -- end -------------------------------------------------------------------------------------

    def ask_to_end(self, number: signal.Signals, now: float, within_s: float = STOP_S) -> None:
        """Send its process a signal that ends it gracefully. It is killed if that takes too long;
        `now` is the monotonic time.
        """
        if self.child and self.state != "stopping":
            self.tell(Level.debug, f"sent {number.name}")
        if self.child:
            self.state, self._kill_at = "stopping", now + within_s
            self.child.send(number)

    def fail(self, cause: str) -> None:
        """End a job that is not to be started."""
        self.state, self.cause = "failed", cause
        self.tell(Level.error, cause)

    def give_up(self) -> None:
        """End a job that has no process now."""
        failed = bool(self.exit_codes and self.exit_codes[-1])
        self.state = "failed" if failed else "done"

    def kill(self) -> None:
        """Kill its process."""
        if self.child:
            self.child.send(signal.SIGKILL)

    def check(self, now: float) -> bool:
        """Read what it prints, and handle its end. Return whether it has just ended."""
        if not self.child:
            return False
        self.child.read()
        code = self.child.ended()
        if code is None:
            if self._kill_at and now > self._kill_at:
                self._kill_at = 0.0
                self.tell(Level.warning, "does not end: killed")
                self.kill()
            return False
        self.result = self.child.result
        self.child.close()
        self.child = None
        self._ended(code, now)
        return True

    def _ended(self, code: int, now: float) -> None:
        """Handle the end of its process."""
        self.exit_codes.append(code)
        self.cause = printable(cause_of(code, self.result), CAUSE_MAX)
        self.was_ready = self.was_ready or code == 0
        hint = str((self.result or {}).get("hint", ""))
        text = self.cause + (f" (hint: {printable(hint)})" if hint else "")
        asked = self.state == "stopping"
        if asked and -code in ASKED:  # its own handlers were not there yet
            code = 0
        self._go_on(code, now, f"ended: {text}", again=not asked and self._wants_restart(code))
        if self.result and "error" not in self.result:
            self.on_result(self.result)

    def _go_on(self, code: int, now: float, text: str, *, again: bool) -> None:
        """Decide what comes next, and tell it behind the text. `again`: start it again, if its
        limit allows that.
        """
        self.state = "failed" if code else "done"
        if again and self._may_restart(now):
            delay = self._delay()
            self.state, self.due = "restarting", now + delay
            text += f"; starts again in {delay:g} s"
        elif again:
            limit = self.entry.limit
            self.state = "failed"
            text += f"; was started again {limit.count} times in {limit.within_s:g} s: no more"
        minor = Level.warning if code else Level.info
        self.tell(Level.error if self.state == "failed" else minor, text)

    def _wants_restart(self, code: int) -> bool:
        policy = self.entry.restart
        if code in FINAL or policy is Restart.no:
            return False
        return code != 0 or policy is Restart.always

    def _may_restart(self, now: float) -> bool:
        """Return whether the limit allows one more, and count it."""
        limit = self.entry.limit
        self._restarted = [at for at in self._restarted if now - at < limit.within_s]
        if len(self._restarted) >= limit.count:
            return False
        self._restarted.append(now)
        self.restarts += 1
        return True

    def _delay(self) -> float:
        """Return the seconds until the restart: twice as long as before, up to a limit."""
        first = self.entry.delay_s
        return min(first * 2.0 ** min(len(self._restarted) - 1, 30), max(first, DELAY_MAX_S))

    # -- a file that was read again --------------------------------------------------------------

    def replace(self, entry: Entry) -> None:
        """Begin anew with another entry; the process has ended."""
        self.entry, self.successor = entry, None
        self.is_ending = self.was_ready = False
        self._restarted.clear()
        self.restarts += bool(self.starts)
        self.state = "waiting"
