# SPDX-License-Identifier: Apache-2.0
"""What a command says under `--json`: frozen dataclasses, from which the JSON schema is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The one JSON object of a command. `uspnet`, the version, is added where it is printed."""

    command: str

    def as_json(self) -> dict[str, Any]:
        """The object, as `--json` prints it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ErrorAnswer:
    """An error, in its place. What a run had done until then stands beside it, as its result."""

    error: str
    message: str
    hint: str
