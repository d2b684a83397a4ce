# SPDX-License-Identifier: Apache-2.0
"""`--mode io`: packets leave as they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uspnet.jobs.forward.mode import Mode


@dataclass
class Io(Mode, mode="io", name="forward"):
    """Between two ports, both ways."""

    help: ClassVar[str] = "forwards packets as they are"
