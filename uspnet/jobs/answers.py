# SPDX-License-Identifier: Apache-2.0
"""Answers to who asks for the addresses that a job's packets come from or go to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uspnet.errors import Usage
from uspnet.fastpath import c, lib
from uspnet.fastpath.owned import Owned
from uspnet.jobs.loops import under_way
from uspnet.jobs.result import Answered
from uspnet.jobs.worker import Lane, Worker
from uspnet.memory import new
from uspnet.packets.answering import AnswerNet
from uspnet.port import Port
from uspnet.telemetry import drops_by_reason


class Answers:
    """Answers to ARP requests and neighbor solicitations for `nets`, the first of which that fits
    counts. `mac`: six bytes, where a net has none of its own. Lives as long as the job.
    """

    def __init__(self, nets: Sequence[AnswerNet], mac: bytes, port: Port) -> None:
        if not (port.can_receive and port.can_send):
            missing = "send" if port.can_receive else "receive"
            text = f"--answer: {port.name} can't {missing}"
            raise Usage(text, "give a port that requests come in by, and answers leave by")
        self._owned = Owned()
        self._lanes: Sequence[Lane] = ()
        self._number = 0  # of the exit
        rows = self._owned.keep(new("struct answer_net[]", [each.row(mac) for each in nets]))
        self.port = port
        self.c = new("struct answer *", {"nets": rows, "n_nets": len(nets)})

    def leave_by(self, worker: Worker, number: int = 0) -> None:
        """Have answers leave by an exit of a worker's first lane, which is a queue of the port."""
        self.c.exit, self._lanes = worker.c_exits[0] + number, worker.lanes
        self._number = number

    def settle(self, lanes: Sequence[Lane]) -> None:
        """Count what waited when the process of the worker with these lanes ended; what was under
        way as lost, unless answers leave by another worker, which counts that.
        """
        self.c.unsent += self.c.held
        self.c.held = 0
        if lanes is self._lanes:
            queue = lanes[0].exits[self._number]
            queue.drop(under_way([Lane(None, [queue])], self.left()), lib.DROP_WORKER_LOST)

    def sent(self) -> tuple[int, int]:
        """Return the answers sent and their bytes, which are in the port's counters, too."""
        return int(self.c.sent), int(self.c.bytes)

    def left(self) -> int:
        """Return the answers that are in the port's counters: sent, or dropped."""
        return int(self.c.sent) + sum(self.drops().values())

    def drops(self) -> dict[str, int]:
        """Return the answers that the port dropped, by reason."""
        return drops_by_reason([self.c])

    def result(self) -> Answered:
        """Return what was answered so far."""
        state: c.Answer = self.c
        unsent = int(state.unsent) + int(state.held)
        drops = self.drops()
        return Answered(arp=int(state.arp), ndp=int(state.ndp), unsent=unsent, drops=drops)


def answered(several: Sequence[Answers]) -> Answered | None:
    """Return what was answered on several ports so far; None: on none is anything."""
    rows = [each.result() for each in several]
    if not rows:
        return None
    return Answered(
        arp=sum(each.arp for each in rows),
        ndp=sum(each.ndp for each in rows),
        unsent=sum(each.unsent for each in rows),
        drops=drops_by_reason(each.c for each in several),
    )


def without_answers(drops: Mapping[str, int], several: Sequence[Answers]) -> dict[str, int]:
    """Return what ports dropped, by reason, without the answers among it."""
    theirs = drops_by_reason(each.c for each in several)
    ours = {name: count - theirs.get(name, 0) for name, count in drops.items()}
    return {name: count for name, count in ours.items() if count > 0}
