# SPDX-License-Identifier: Apache-2.0
"""Options of `capture` for packets that are held in memory until there is a trigger."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli.ending import handled
from uspnet.errors import Usage
from uspnet.jobs.choices import DURATION_MAX

if TYPE_CHECKING:
    from uspnet.ports.pcap.sink import Sink
    from uspnet.ports.pcap.trigger import Trigger

HELD, LEAST, MOST = 64 << 20, 1 << 20, 1 << 40  # bytes
PreTrigger = Annotated[
    str | None,
    typer.Option(
        "--pre-trigger",
        metavar="TIME|SIZE",
        help="Write nothing until --on accepts a packet, or SIGUSR2 comes; then what came so long "
        "before, and what follows. Memory holds it: 30s (up to 64 MiB), 1GiB, or 30s,1GiB.",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="FILTER",
        help="With --pre-trigger: the packet that triggers, of those that are captured: what "
        "FILTER, --dedup, --first, --slice and --snaplen keep.",
    ),
]
After = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        parser=units.time_between(0, DURATION_MAX),
        help="With --pre-trigger: end so long after the trigger. Default: as without one.",
    ),
]


def trigger_of(held: str | None, on: str | None, after: float | None) -> Trigger | None:
    """Return what is held until when, by --pre-trigger, --on and --after; None: nothing. Raises
    Usage, and what choose_by does.
    """
    if held is None:
        for option, value in (("--on", on), ("--after", after)):
            if value is not None:
                hint = "say what is held until then: --pre-trigger 30s"
                raise Usage(f"{option} needs --pre-trigger", hint)
        return None
    from uspnet.packets.filter import choose_by
    from uspnet.ports.pcap.trigger import Trigger

    seconds, size = _held(held)
    return Trigger(size or HELD, seconds, after, choose_by(on) if on is not None else None)


def _held(text: str) -> tuple[float | None, int | None]:
    """Read a time, a size, or both. Raises Usage."""
    seconds: float | None = None
    size: int | None = None
    try:
        for word in text.split(","):
            if size is None and units.OCTETS.fullmatch(word.strip()) and word.strip()[-1:] in "bB":
                size = units.octets(word)
                if not LEAST <= size <= MOST:
                    raise units.Unreadable("too small" if size < LEAST else "too large")
            elif seconds is None:
                seconds = units.time_between(0, DURATION_MAX)(word)
            else:
                raise units.Unreadable("more than a time and a size")
    except units.Unreadable as error:
        hint = error.hint or "at least 1MiB of memory"
        raise Usage(f"--pre-trigger {text[:40]!r}: {error}", f"{hint}, or 1GiB") from None
    return seconds, size


@contextlib.contextmanager
def pulled_by_signal(sink: Sink | None) -> Iterator[None]:
    """Have SIGUSR2 trigger what is held while inside."""
    pull = getattr(sink, "pull", None)
    with handled({signal.SIGUSR2: lambda _number: pull()} if pull else {}):
        yield
