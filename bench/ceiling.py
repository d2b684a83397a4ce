# SPDX-License-Identifier: Apache-2.0
"""The bare two-core ceiling: ceiling.c."""

from __future__ import annotations

import subprocess
from typing import Self

from compiled import compiled
from lab import BenchError


class Ceiling:
    """Compiles on entry; measures as often as asked."""

    def __enter__(self) -> Self:
        self._program = compiled("ceiling.c")
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave it: the program is there until this process ends."""

    def measure(self, writer: int, reader: int, seconds: float) -> float:
        """Packets a second from one core to the other."""
        command = [self._program, str(writer), str(reader), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError("the ceiling could not be measured")
        return float(done.stdout)
