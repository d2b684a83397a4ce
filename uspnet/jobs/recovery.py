# SPDX-License-Identifier: Apache-2.0
"""What makes a job's shared state whole again after the process of its workers has ended at any
instruction: queues, free buffers, counters, and the workers' own structs. Then a fresh process can
go on.

Every counter was written by that process, in an order that bounds the error: a receive ring counts
before it moves its position on, a transmit ring after. So what is counted as received and neither
as sent nor as dropped was under way, and may have been sent; it is counted as DROP_WORKER_LOST.
"""

from __future__ import annotations

from collections.abc import Sequence

from uspnet.fastpath import c, lib
from uspnet.jobs.worker import Worker
from uspnet.pool import Pool
from uspnet.port import Port


def recover(
    pool: Pool,
    ports: Sequence[Port],
    workers: Sequence[Worker],
    budget: c.Pointer[int],
    count: int | None,
) -> int:
    """Make everything whole that the workers' process has left; return how many packets may be
    lost. No worker runs, and no device accesses memory (`Port.quiet`). `budget`: packets left of
    the `count` that the job handles; None: any number.

    Raises UspnetError where a port can't go on.
    """
    before = _lost(ports)
    pool.forget()
    held = [index for port in ports for index in port.revive()]
    pool.refill(held)
    for port in ports:
        for queue in port.made:
            _add_up(queue.counters)
    excess = _rebudget(workers, budget, count) if count is not None else 0
    for worker in workers:
        excess = worker.loop.settle(worker.lanes, excess)
        _reset(worker)
    for port in ports:
        port.restart()
    return _lost(ports) - before


def _lost(ports: Sequence[Port]) -> int:
    """Return the packets counted as lost with a worker process so far."""
    counters = [queue.counters for port in ports for queue in port.made]
    return sum(int(each.drops[lib.DROP_WORKER_LOST]) for each in counters)


def _add_up(counters: c.Counters) -> None:
    """Set the sums of dropped packets, which are written after the reasons."""
    drops = [int(counters.drops[reason]) for reason in range(lib.DROP_REASONS)]
    counters.dropped = sum(drops[: lib.DROP_ERRORS])
    counters.errors = sum(drops[lib.DROP_ERRORS :])


def _rebudget(workers: Sequence[Worker], budget: c.Pointer[int], count: int) -> int:
    """Set the budget by what was counted: a worker claims packets from it before it counts them, or
    afterwards. Return how many were counted beyond it.
    """
    limited = [worker for worker in workers if worker.c.budget]
    claimed = sum(worker.loop.claimed(worker.lanes) for worker in limited)
    budget[0] = max(count - claimed, 0)
    return max(claimed - count, 0)


def _reset(worker: Worker) -> None:
    """Clear what the loop had under way. It goes on as after a pause; its times stay."""
    state = worker.c
    state.paused = state.idle_since = state.spurious = 0
    if not state.stop and not worker.over():
        state.ending = lib.RUNNING  # it was about to end by itself, and will find that out again
    for lane, exits in zip(worker.c_lanes, worker.c_exits, strict=True):
        for each in exits[0 : lane.n_exits]:
            setattr(each, "from", 0)
            each.held = each.tried = 0
