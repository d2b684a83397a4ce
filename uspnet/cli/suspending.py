# SPDX-License-Identifier: Apache-2.0
"""Ctrl-Z (SIGTSTP) stops a job's packets together with its command, and SIGCONT (`fg`, `bg`) lets
both go on. By itself the kernel would stop the command alone: the loops run in a process of their
own, which belongs to no terminal, and nobody would look after the ports meanwhile.

SIGSTOP, which no process can handle, does just that.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

from uspnet.cli.ending import handled
from uspnet.cli.views.live import View
from uspnet.errors import DeviceTimeout
from uspnet.jobs.job import AnyJob


@contextlib.contextmanager
def suspended_by_signals(job: AnyJob, view: View) -> Iterator[None]:
    """Have SIGTSTP suspend a job while inside, unless it is ignored, as `trap '' TSTP` sets it."""
    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield
        return
    suspension = _Suspension(job, view)
    job.on_tick = suspension.tick
    with handled({signal.SIGTSTP: suspension.ask}):
        yield
    if suspension.asked:
        signal.raise_signal(signal.SIGTSTP)


class _Suspension:
    """Suspends a job between two ticks of the thread that waits for it."""

    def __init__(self, job: AnyJob, view: View) -> None:
        self.job, self.view, self.asked = job, view, False
        self._tick = job.on_tick

    def ask(self, _number: int) -> None:
        """Handle the signal: at the next tick, if loops run."""
        if any(worker.running() for worker in self.job.workers):
            self.asked = True
            self.job.service.wake()
        else:
            self._stop()

    def tick(self) -> None:
        """Do what is asked for."""
        self._tick()
        if not self.asked:
            return
        with contextlib.ExitStack() as resume:
            with contextlib.suppress(DeviceTimeout):  # a thread of this process stops with it
                resume.enter_context(self.job.paused())
            began = time.monotonic()
            self._stop()
            self.job.pass_over(time.monotonic() - began)

    def _stop(self) -> None:
        """Stop this process as if nobody handled the signal, until it is told to go on."""
        if self.view.screen:
            self.view.screen.close()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        self.asked = False  # a second one that came meanwhile is over, too
        signal.signal(signal.SIGTSTP, ours)
        if self.view.screen:
            self.view.screen.open()
