# SPDX-License-Identifier: Apache-2.0
"""What makes a run that ended by itself a failure, where options ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uspnet.errors import TooFew, Usage

Check = Callable[[Any], None]  # takes the result; raises, with the result in the error


def required(
    least: int | None, verb: str, counted: Callable[[Any], int], most: int | None
) -> list[Check]:
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
