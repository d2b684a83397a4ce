# SPDX-License-Identifier: Apache-2.0
"""Options of `capture` that name ports of a running job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from uspnet import units
from uspnet.cli.captured import split
from uspnet.cli.stats import job_name, pid_of
from uspnet.errors import NotSupported, Usage
from uspnet.spec import Spec

Port = Annotated[
    str | None,
    typer.Argument(
        metavar="PORT", help="A port, such as memif:/run/m.sock; see PORTS in man uspnet."
    ),
]
Job = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="JOB",
        parser=job_name,
        help="Capture what a running job receives and sends, instead of PORT; its process id, "
        "or the path of its --control. The job goes on, at the cost of the copies.",
    ),
]
Number = Annotated[
    list[int] | None,
    typer.Option(
        "--port",
        metavar="N",
        parser=units.whole(0, 255),
        help="That port of the job, from 0 as uspnet stats lists them. Default: all.",
    ),
]
Dropped = Annotated[
    bool,
    typer.Option(
        "--dropped",
        help="Capture the packets that the job drops, each with the reason as its comment.",
    ),
]


def ports_of(
    port: str | None,
    words: Sequence[str] | None,
    job: str | None,
    numbers: Sequence[int] | None,
    *,
    dropped: bool,
    listing: bool = False,
) -> tuple[list[str], list[str]]:
    """Return the ports that are captured from, and the words of the filter. `listing`: there may be
    no port. Raises Usage.
    """
    if job is not None or (listing and not numbers and not dropped):
        watched = [] if job is None else _ports(job, numbers, dropped=dropped)
        more, rest = split([*([port] if port is not None else []), *(words or ())])
        return [*watched, *more], rest
    if numbers or dropped:
        name = "--port" if numbers else "--dropped"
        raise Usage(f"{name} needs --job JOB", f"add --job JOB, or drop {name}")
    if port is None:
        raise Usage("PORT is missing", "see: uspnet capture --help")
    more, rest = split(words)
    return [port, *more], rest


def _ports(job: str, numbers: Sequence[int] | None, *, dropped: bool) -> list[str]:
    """Return the specs of a job's ports: those with these numbers, or all."""
    from uspnet.telemetry import look
    from uspnet.telemetry.reaching import is_process_id
    from uspnet.text import printable

    seen = [] if numbers else look(pid_of(job)).jobs
    if not seen and not numbers and not is_process_id(job):
        text = f"the ports of the job at {printable(job)} can't be seen from here"
        raise NotSupported(text, "name them: --port 0 --port 1")
    found = numbers or range(len(seen[0].ports) if seen else 1)
    options = {"dropped": True} if dropped else {}
    return [
        Spec.of("job", job, {"port": number, **options}).text for number in dict.fromkeys(found)
    ]
