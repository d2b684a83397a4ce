# SPDX-License-Identifier: Apache-2.0
"""What a job tells people when it starts: what they should know, and how the run is set up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uspnet.jobs.plan import Limits
from uspnet.jobs.worker import Worker
from uspnet.pool import Pool
from uspnet.port import Port


def notices(ports: Sequence[Port], limits: Limits) -> Iterator[str]:
    """Return what the user should know before it is too late."""
    bounded = limits.count is not None or limits.duration is not None
    full = [port.name for port in ports if port.fills_disk]
    received = (q.port for port in ports for q in port.made if q.direction == "rx")
    if full and not bounded and any(port.endless for port in received):
        yield f"{full[0]} grows until the disk is full: give --count or --duration"
    for port in ports:
        if port.danger:
            yield f"{port.name}: DANGER: {port.danger}"


def details(
    ports: Sequence[Port], limits: Limits, pool: Pool, workers: Sequence[Worker]
) -> Iterator[str]:
    """Return how the run is set up, for `-v`."""
    for port in ports:
        if port.how:
            yield f"{port.name}: {port.how}"
    yield f"pool: {pool.count} buffers of {pool.size} bytes on {pool.pages} pages"
    for number, worker in enumerate(workers):
        core = "any core" if worker.core is None else f"core {worker.core}"
        ends = ", ".join(f"{q.port.name} {q.direction} {q.index}" for q in worker.queues)
        yield f"worker {number}, {core}, poll {limits.poll}: {ends}"
    yield f"bursts of up to {limits.burst} packets"
