# SPDX-License-Identifier: Apache-2.0
"""The options that every running command shares, as types."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.errors import Usage

if TYPE_CHECKING:
    from uspnet.jobs.job import Limits


class Poll(StrEnum):
    """How an idle worker waits."""

    busy = "busy"
    adaptive = "adaptive"
    sleep = "sleep"


Port = Annotated[
    str, typer.Argument(metavar="PORT", help="A port spec, such as memif:/run/m.sock.")
]
Duration = Annotated[
    float | None, typer.Option("--duration", metavar="S", help="Stop after S seconds.")
]
Count = Annotated[
    int | None, typer.Option("--count", "-c", metavar="N", min=1, help="Stop after N packets.")
]
Cores = Annotated[
    str | None, typer.Option("--cores", metavar="LIST", help="Pin workers to cores, as 1,2.")
]
Burst = Annotated[
    int, typer.Option("--burst", metavar="N", min=1, max=64, help="Packets handled by one call.")
]
PollMode = Annotated[
    Poll | None, typer.Option("--poll", help="How an idle worker waits: spin, both, or sleep.")
]
Reconnect = Annotated[
    bool,
    typer.Option(
        "--reconnect/--no-reconnect", help="Wait for a peer that left to come back, or fail."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def _trace(level: int) -> int:
    """From the second -v on, every access to a register is a line on stderr."""
    if level > 1:
        from uspnet.register import trace

        trace(lambda line: print(line, file=sys.stderr))
    return level


def _interval(seconds: float) -> float:
    if not 0.1 <= seconds <= 3600:
        raise Usage(f"--interval {seconds:g} is not a time", "give seconds, 0.1 to 3600")
    return seconds


Interval = Annotated[
    float,
    typer.Option("--interval", metavar="S", callback=_interval, help="Seconds between looks."),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, callback=_trace, metavar="",
        show_default=False,
        help="Say how the run is set up; -vv: also every access to a NIC's registers.",
    ),
]  # fmt: skip


def core_list(text: str | None) -> list[int] | None:
    """`1,2` or `0-3` as numbers. Raises Usage."""
    if text is None:
        return None
    cores: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        try:
            cores += range(int(low), int(high if dash else low) + 1)
        except ValueError:
            raise Usage(f"--cores {text}: {part!r} is not a core", "write 1,2 or 0-3") from None
    if not cores:
        raise Usage(f"--cores {text} names no core", "write 1,2 or 0-3")
    return cores


def limits(
    duration: float | None,
    count: int | None,
    cores: str | None,
    burst: int,
    poll: Poll | None,
    *,
    reconnect: bool = True,
) -> Limits:
    """The shared options as the jobs take them. Raises Usage."""
    from uspnet.jobs.job import Limits

    if duration is not None and not 0 < duration < 1e9:
        raise Usage(f"--duration {duration:g} is not a time", "give seconds, more than 0")
    mode = (poll or Poll.adaptive).value
    return Limits(duration, count, core_list(cores), burst, mode, reconnect=reconnect, confine=True)


def bits(text: str) -> float:
    """`10G` or `10Gbps` as bits a second. Raises Usage."""
    from uspnet.spec import scaled

    try:
        value = scaled(text.lower().removesuffix("bps"))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e15:
        raise Usage(f"--link {text!r} is not a rate", "write 10G or 2.5Gbps")
    return value
