# SPDX-License-Identifier: Apache-2.0
"""What a program that uses a job as a library can do wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.port import Port

if TYPE_CHECKING:
    from uspnet.jobs.worker import Worker


def claim(ports: Sequence[Port]) -> None:
    """Give each port to the job that opens it now, for good: its queues and counters are that
    job's, in which no other has its `kept_as`. Raises Usage for a port that a job has already, or
    that is given twice.
    """
    for number, port in enumerate(ports):
        if port.kept_as or port in ports[:number]:
            raise Usage(
                f"a job has {port.name} already, and a port is used once",
                "make a port for each job, and for each place in it: make_port(…)",
            )
    for number, port in enumerate(ports):
        same = sum(other.name == port.name for other in ports[:number])
        port.kept_as = f"{port.name} {same + 1}" if same else port.name
        others = (other for other in ports if other is not port and not other.endless)
        port.is_beside_others = any(other.can_receive for other in others)


def check_open(workers: Sequence[Worker], *, is_open: bool) -> None:
    """Raise Usage when a job can't be started: it is not open, or has run before."""
    if workers:
        raise Usage("this job was started before, and a job runs once", "make another job")
    if not is_open:
        raise Usage("the job's ports are not open", "use the job in a with statement")


def check_started(workers: Sequence[Worker]) -> None:
    """Raise Usage when there is nothing to wait for."""
    if not workers:
        raise Usage("this job was not started", "call its start() or run()")


def check_counters(workers: Sequence[Worker], *, is_open: bool) -> None:
    """Raise Usage when a job had counters and they are gone."""
    if workers and not is_open:
        raise Usage("the job is closed, and with it its counters", "see its result()")
