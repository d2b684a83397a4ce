# SPDX-License-Identifier: Apache-2.0
"""The bare two-core ceiling: ceiling.c."""

from __future__ import annotations

import subprocess

from compiled import compiled
from lab import BenchError


def ceiling(writer: int, reader: int, seconds: float) -> float:
    """Packets a second from one core to the other."""
    command = [compiled("ceiling.c"), str(writer), str(reader), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError("the ceiling could not be measured")
    return float(done.stdout)
