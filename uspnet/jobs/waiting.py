# SPDX-License-Identifier: Apache-2.0
"""How a run begins: it waits for its peers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from uspnet.errors import DeviceTimeout

if TYPE_CHECKING:
    from uspnet.jobs.job import AnyJob
    from uspnet.port import Port

NOTICE_S = 0.3  # a peer that takes longer to come is worth a line
LOOK_S = 0.05


def wait_for_peers(job: AnyJob, ports: list[Port]) -> float:
    """Wait until all of `ports` are up, and return the seconds that it took. Their own options
    limit how long, and so does the run's duration. Raises DeviceTimeout, and why a peer refuses.
    """
    began = time.monotonic()
    told, end = began + NOTICE_S, began + (job.limits.duration or float("inf"))
    while not job.stop_reason and (down := [port for port in ports if not port.up()]):
        text = "; ".join(f"{port.name}: {port.why_down()}" for port in down)
        if time.monotonic() > told:
            told = float("inf")
            job.on_notice(f"waiting: {text}")
        job.on_wait(time.monotonic() - began)
        if time.monotonic() > end:
            text = f"{text}: waited for all of the run's duration"
            late = DeviceTimeout(text, "start the other side first, or raise --duration")
            raise next(filter(None, (port.refusal() for port in down)), late)
        job.service.serve(LOOK_S)
    return time.monotonic() - began
