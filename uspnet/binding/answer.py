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
    """`allowed`: `--allow` overrides it."""

    allowed: bool


@dataclass(frozen=True, kw_only=True)
class BindRow:
    """A function: the kernel driver that it gets and the one that it had, whether it has it
    already, what is done for it, and what speaks against it.
    """

    address: str
    driver: str
    was: str | None
    already: bool
    steps: tuple[str, ...]
    reasons: tuple[JudgedRow, ...]


@dataclass(frozen=True, kw_only=True)
class BindAnswer(Answer):
    """What was done, or with `dry_run` would be."""

    dry_run: bool
    devices: tuple[BindRow, ...]


@dataclass(frozen=True, kw_only=True)
class BindRefused(Answer):
    """Nothing was done: why."""

    error: str
    message: str
    hint: str
    devices: tuple[BindRow, ...]


@dataclass(frozen=True, kw_only=True)
class OutcomesAnswer(Answer):
    """What became of each function."""

    devices: tuple[Outcome, ...]


def rows(plans: Sequence[Plan], allow: Collection[str]) -> tuple[BindRow, ...]:
    """One row a function."""
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
