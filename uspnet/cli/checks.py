# SPDX-License-Identifier: Apache-2.0
"""What makes a run that ended by itself a failure, where options ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from uspnet.errors import Loss, TooFew, Usage, UspnetError
from uspnet.jobs.result import Result, unintended

# Takes the result; raises, with the result in the error, or returns what is to be told.
Check = Callable[[Any], str | None]
Counted = Callable[[Any], int]  # packets of a result


def required(least: int | None, verb: str, counted: Counted, most: int | None) -> list[Check]:
    """Make the check of `--require`: raise TooFew when `counted` is below `least`.

    `most` is the run's own limit of packets. Raise Usage when it can't reach `least`.
    """
    if least is None:
        return []
    if most is not None and most < least:
        hint = "lower --require, or raise --count"
        raise Usage(f"--count {most:,} ends the run below --require {least:,}", hint)

    def check(result: Any) -> None:
        found = counted(result)
        if found < least:
            text = f"{verb} {found:,} packets, and --require asks for {least:,}"
            error = TooFew(text, "raise --duration, or see: uspnet doctor")
            error.partial = result.as_json()
            raise error

    return [check]


def lossless(most: float | None, counted: Callable[[Any], tuple[int, int]]) -> list[Check]:
    """Make the check of `--fail-on-loss`: raise Loss when more than the share `most` was lost.

    `counted` returns packets lost, and packets in all.
    """
    if most is None:
        return []

    def check(result: Any) -> None:
        lost, total = counted(result)
        if lost > most * total:
            text = f"{lost:,} of {total:,} packets did not arrive ({lost / max(total, 1):.3%})"
            allowed = f", and --fail-on-loss allows {most:.3%}" if most else ""
            error = Loss(text + allowed, "see the drop reasons, and missed; lower the rate")
            error.partial = result.as_json()
            raise error

    return [check]


def lossless_on_receive(most: float | None, received: Counted) -> list[Check]:
    """Make the checks of `--fail-on-loss` for a run that receives so many packets. What nobody can
    count as missed is no loss, which is told.
    """
    if most is None:
        return []
    return [_uncounted, *lossless(most, lambda r: lost_on_receive(r, received(r)))]


def _uncounted(result: Result) -> str | None:
    """Say which ports received packets, and don't know how many they missed."""
    past = {row["port"] for each in result.before for row in each["ports"] if row["rx_packets"]}
    rows = [row for row in result.ports if row.rx_packets or row.port in past]
    ports = [row.port for row in rows if row.rx_missed_errors is None]
    text = "--fail-on-loss leaves out what these ports missed, which nobody counts"
    return f"{text}: {', '.join(ports)}" if ports else None


def check_all(
    checks: Sequence[Check], result: Result, tell: Callable[[str], None] = lambda _text: None
) -> None:
    """Make the checks of a run, over all that was counted before its cold upgrades, too. `tell`
    takes what they say.
    """
    try:
        for check in checks:
            if said := check(_whole(result)):
                tell(said)
    except UspnetError as error:
        error.partial = result.as_json()
        raise


def _whole(result: Result) -> Result:
    """Return a result with all counters added up that the run had in its process."""
    sums: dict[str, Any] = {}
    for name, value in vars(result).items():
        values = [value, *(each.get(name) for each in result.before)]
        if type(value) is int:
            sums[name] = sum(each or 0 for each in values)
        elif name in {"drops", "skipped"}:
            sums[name] = sum(map(Counter, values), Counter())
    return replace(result, **sums)


def unsent_or_lost(result: Any) -> tuple[int, int]:
    """Return packets lost and packets in all, of a run that sends: those that were not sent, those
    of a file that could not even be offered, and those that did not come back.
    """
    skipped = unintended(getattr(result, "skipped", {}))
    return result.unsent + skipped + getattr(result, "lost", 0), result.offered + skipped


def lost_on_receive(result: Any, received: int) -> tuple[int, int]:
    """Return packets lost and packets in all, of a run that receives. What nobody could count as
    missed is not in them.
    """
    missed = result.missed or 0
    return unintended(result.drops) + missed, received + missed
