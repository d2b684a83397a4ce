# SPDX-License-Identifier: Apache-2.0
"""What a command says under `--json`: frozen dataclasses, from which the JSON schema is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Json = dict[str, Any]  # an object, as JSON has it


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The one JSON object of a command. `uspnet`, the version, is added where it is printed."""

    command: str
    """The command's name."""

    def as_json(self) -> Json:
        """Return the object, as `--json` prints it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ErrorAnswer:
    """An error. That of a run also has every key of the run's result, with the counters so far."""

    error: str
    """Its kind, a class of `uspnet.errors`: `Usage`, `NoDevice`, `Malformed`, …"""
    message: str
    """What is wrong; a line each."""
    hint: str
    """What to do about it; may be empty."""
