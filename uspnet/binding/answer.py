# SPDX-License-Identifier: Apache-2.0
"""What `bind` and `unbind` say under `--json`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.binding.bind import Plan
from uspnet.binding.safety import ReasonRow
from uspnet.binding.unbind import Outcome


@dataclass(frozen=True)
class JudgedRow(ReasonRow):
    """A reason, and whether it was overridden."""

    allowed: bool
    """`--allow` names it."""


@dataclass(frozen=True, kw_only=True)
class BindRow:
    """One PCI function that is bound."""

    address: str
    """Its PCI address."""
    driver: str
    """The kernel driver that it gets."""
    was: str | None
    """The kernel driver that it had; null: none."""
    already: bool
    """It has that driver already."""
    steps: tuple[str, ...]
    """What is done for it, in order."""
    reasons: tuple[JudgedRow, ...]
    """What speaks against binding it."""


@dataclass(frozen=True, kw_only=True)
class BindAnswer(Answer):
    """What was done, or with `dry_run` would be."""

    dry_run: bool
    """Nothing was changed."""
    devices: tuple[BindRow, ...]
    """The functions that were asked for."""


@dataclass(frozen=True, kw_only=True)
class BindRefused(Answer):
    """The refusal of `bind`: nothing was changed."""

    error: str
    """`Refused`."""
    message: str
    """What speaks against it; a line each."""
    hint: str
    """What to do about it."""
    devices: tuple[BindRow, ...]
    """The functions that were asked for."""


@dataclass(frozen=True, kw_only=True)
class OutcomesAnswer(Answer):
    """What became of each function."""

    devices: tuple[Outcome, ...]
    """The functions that were asked for."""


def rows(plans: Sequence[Plan], allow: Collection[str]) -> tuple[BindRow, ...]:
    """Return one row for each function."""
    return tuple(
        BindRow(
            address=plan.address,
            driver=plan.driver,
            was=plan.function.driver,
            already=plan.already,
            steps=tuple(plan.steps()),
            reasons=tuple(
                JudgedRow(**vars(reason.row()), allowed=reason.name in allow)
                for reason in plan.reasons
            ),
        )
        for plan in plans
    )
