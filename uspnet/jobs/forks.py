# SPDX-License-Identifier: Apache-2.0
"""The fork server of a job ends too early: somebody has killed it, or the kernel has.

The loops go on without it. Another one is started at once, since only that can replace a worker
process that ends: by the command, which has no privileges left, so as its own user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uspnet.errors import NotSupported, UspnetError
from uspnet.jobs.choices import Sandbox
from uspnet.process.server import START_S, ForkServer
from uspnet.process.successor import Successor

if TYPE_CHECKING:
    from uspnet.jobs.crew import Crew

ENDED = "the process that forks worker processes has ended"


class Forks:
    """Starts another fork server for a crew when its own has ended, up to `--restart N` times."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._count = 0  # of those that were started
        self._next: Successor | None = None  # it starts
        self._lost: ForkServer | None = None  # it has ended, and no other one can be had

    def fds(self) -> list[int]:
        """Return the descriptor that becomes readable when `serve` has something to do."""
        server = self.crew.server
        if not server or server is self._lost or self.crew.upgrades.busy():
            return []
        return [self._next.fileno() if self._next else server.pidfd]

    def serve(self) -> None:
        """Go on, as far as that takes no time. An upgrade brings another one anyway."""
        server = self.crew.server
        if not server or server is self._lost or self.crew.upgrades.busy():
            return
        if not server.dead():
            self.close()
            return
        if not self._next:
            self._begin(server)
        if self._next and self._next.ready():
            self._take_over(server, self._next, 0)

    def working(self) -> ForkServer | None:
        """Return the fork server, or the one in its place, once that has started. None: the job has
        none.
        """
        server = self.crew.server
        if server and server is not self._lost and server.dead():
            if not self._next:
                self._begin(server)
            if self._next:
                self._take_over(server, self._next, START_S)
        return self.crew.server

    def close(self) -> None:
        """End what starts. May be called twice."""
        if self._next:
            self._next.abort()
            self._next = None

    def _begin(self, server: ForkServer) -> None:
        try:
            self._check(server)
            self._next = Successor(server, server.python)
            self._count += 1
        except UspnetError as error:
            self._give_up(server, error)

    def _check(self, server: ForkServer) -> None:
        """Raise NotSupported when there may be no other one."""
        restart = self.crew.limits.restart
        if self._count >= restart:
            raise NotSupported(f"--restart allows {restart}")
        if server.user and self.crew.sandbox is Sandbox.require:
            raise NotSupported(
                f"it could not become user {server.user}, and the sandbox is required"
            )

    def _take_over(self, server: ForkServer, fresh: Successor, timeout: float) -> None:
        """Have another one, which is ready or will be within so many seconds, take the place."""
        self._next = None
        try:
            fresh.greet(timeout)
        except UspnetError as error:
            fresh.abort()
            self._give_up(server, error)
            return
        fresh.settle()
        self.crew.server = fresh
        server.close()
        user = "" if fresh.user == server.user else ", without a user of its own"
        self.crew.notice(f"{ENDED}; another one goes on{user}")

    def _give_up(self, server: ForkServer, error: UspnetError) -> None:
        self._lost = server
        follows = "a worker process that ends can't be replaced any more"
        self.crew.notice(f"{ENDED}, and no other one starts: {error.message}; {follows}")
