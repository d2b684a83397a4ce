# SPDX-License-Identifier: Apache-2.0
"""`--mode macswap`: packets leave with their two MAC addresses exchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uspnet.jobs.forward.mode import Mode


@dataclass
class Macswap(Mode, mode="macswap", struct="forward_loop"):
    """Between two ports, both ways."""

    help: ClassVar[str] = "swaps their MAC addresses"
