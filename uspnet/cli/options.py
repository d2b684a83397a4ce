# SPDX-License-Identifier: Apache-2.0
"""The options that every running command shares, as types."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from uspnet import units
from uspnet.cli.trial import is_on_trial
from uspnet.errors import Usage
from uspnet.jobs.choices import COUNT_MAX, DURATION_MAX, Poll, Sandbox
from uspnet.system import kept

if TYPE_CHECKING:
    from uspnet.jobs.plan import Limits


CORE_MAX = 65535  # more than any machine has


Port = Annotated[
    str,
    typer.Argument(
        metavar="PORT", help="A port, such as memif:/run/m.sock; see PORTS in man uspnet."
    ),
]
Ports = Annotated[
    list[str],
    typer.Argument(
        metavar="PORT", help="Ports, such as memif:/run/m.sock; see PORTS in man uspnet."
    ),
]


def file_name(option: typer.CallbackParam, value: str | None) -> str | None:
    """Return an option's file name. Raise Usage if it is empty, as an unset variable is, or looks
    like the next option.
    """
    if value is None or value == "-" or value[:1] not in {"", "-"}:
        return value
    name, what = max(option.opts, key=len), "is an option" if value else "is empty"
    raise Usage(f"{name} needs a file name: {value[:40]!r} {what}", f"give one: {name} x.pcapng")


def written(text: str) -> OptionInfo:
    """Return the option -w, which names a file to write, with the help of one command."""
    made: OptionInfo = typer.Option("-w", "--write", metavar="FILE", callback=file_name, help=text)
    return made


Duration = Annotated[
    float | None,
    typer.Option(
        "--duration",
        metavar="TIME",
        parser=units.time_between(1e-6, DURATION_MAX),
        help="Stop after this time: seconds, or 500ms, 10s, 1m, 1h30m.",
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        "-c",
        metavar="N",
        parser=units.whole(1, COUNT_MAX),
        help="Stop after N packets: 1000, 1k, 1M or 1e6.",
    ),
]
Cores = Annotated[
    str | None, typer.Option("--cores", metavar="LIST", help="Pin workers to cores: 1,2 or 0-3.")
]
Burst = Annotated[
    int,
    typer.Option(
        "--burst",
        metavar="N",
        parser=units.whole(1, 64),
        help="Handle up to N packets with one call, 1 to 64.",
    ),
]
PollMode = Annotated[
    Poll | None,
    typer.Option(
        "--poll",
        help="How an idle worker waits for packets: busy spins, sleep blocks, adaptive spins for a "
        "moment and then blocks; so does a worker that keeps a --rate, until a packet is due. "
        "Default: adaptive; sleep for attach; busy where a rate or a latency is measured.",
    ),
]
Reconnect = Annotated[
    bool,
    typer.Option(
        "--reconnect/--no-reconnect", help="Wait for a peer that disconnected to return, or fail."
    ),
]
FailOnLoss = Annotated[
    float | None,
    typer.Option(
        "--fail-on-loss",
        metavar="[=SHARE]",
        parser=units.share,
        help="Exit with 4 when a larger share of the packets was lost, such as 0.1%; without a "
        "share, when any was.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Do not ask before sending to an interface that has the default route."
    ),
]
InProcess = Annotated[
    bool,
    typer.Option(
        "--in-process", help="Run the loops in this process, instead of in one of their own."
    ),
]
Restart = Annotated[
    int,
    typer.Option(
        "--restart",
        metavar="N",
        parser=units.whole(0, COUNT_MAX),
        help="Replace the process of the loops up to N times when it crashes, is killed or hangs.",
    ),
]
SandboxMode = Annotated[
    Sandbox,
    typer.Option(
        "--sandbox",
        help="The sandbox of the process that runs the loops: auto enforces what this kernel can, "
        "require refuses to run when something is missing, off shows the difference.",
    ),
]
NoSandbox = Annotated[bool, typer.Option("--no-sandbox", help="The same as --sandbox=off.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def _trace(level: int) -> int:
    """Trace every register access on stderr from the second -v on."""
    if level > 1:
        from uspnet.register import trace

        trace(lambda line: print(line, file=sys.stderr))
    return level


Interval = Annotated[
    float,
    typer.Option(
        "--interval",
        metavar="TIME",
        parser=units.time_between(0.1, 3600),
        help="Time between two readings, 0.1 s to 1 h.",
    ),
]
Report = Annotated[
    float | None,
    typer.Option(
        "--interval",
        metavar="TIME",
        parser=units.time_between(0.1, 3600),
        help="Report this often; with --json, one object per line; the last is the result.",
    ),
]
Require = Annotated[
    int | None,
    typer.Option(
        "--require",
        metavar="N",
        parser=units.whole(1, COUNT_MAX),
        help="Exit with 1 when fewer than N packets were sent, received or forwarded.",
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, callback=_trace, metavar="",
        show_default=False,
        help="Report how the run is set up; -vv: trace every register access of NICs, too.",
    ),
]  # fmt: skip


def core_list(text: str | None) -> list[int] | None:
    """Read `1,2` or `0-3` as core numbers. Raise Usage."""
    if text is None:
        return None
    cores: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        try:
            first, last = int(low), int(high if dash else low)
        except ValueError:
            first = last = -1
        if not 0 <= first <= CORE_MAX or not 0 <= last <= CORE_MAX:
            raise Usage(f"--cores: {part[:20]!r} is not a core", "write 1,2 or 0-3")
        cores += range(first, last + 1)
    if not cores:
        raise Usage(f"--cores {text[:40]} names no core", "write 1,2 or 0-3")
    if len(set(cores)) < len(cores):
        raise Usage(f"--cores {text[:40]} names a core twice", "give each worker its own")
    return cores


def was_given(context: typer.Context, name: str) -> bool:
    """Return whether the parameter was on the command line, not left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@dataclass(frozen=True)
class Process:
    """The options about where loops run, and where the job takes orders, besides its own name."""

    inside: bool
    restart: int
    sandbox: Sandbox
    no_sandbox: bool
    control: str | None = None

    def mode(self) -> str:
        """Return the sandbox's mode. Raise Usage."""
        if self.no_sandbox and self.sandbox is Sandbox.require:
            raise Usage("--no-sandbox and --sandbox=require exclude each other", "drop one of them")
        return (Sandbox.off if self.no_sandbox else self.sandbox).value


def limits(
    duration: float | None,
    count: int | None,
    cores: str | None,
    burst: int,
    poll: Poll | None,
    process: Process,
    *,
    reconnect: bool = True,
) -> Limits:
    """Return the shared options as a job takes them. Raise Usage."""
    from uspnet.jobs.plan import Limits

    if (former := kept.former()) and not is_on_trial():  # a part of a job has limits of its own
        duration, count = former.duration, former.count
    made = Limits(duration, count, core_list(cores), burst, (poll or Poll.adaptive).value)
    made.words = sys.argv[1:]
    made.reconnect, made.confine, made.control = reconnect, True, True
    made.control_path = process.control
    made.process, made.restart = not process.inside, process.restart
    made.sandbox = process.mode()
    return made
