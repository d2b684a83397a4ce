# SPDX-License-Identifier: Apache-2.0
"""The bare two-core ceiling: ceiling.c, compiled and run."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Self

from lab import BenchError

SOURCE = Path(__file__).with_name("ceiling.c")
FLAGS = ["-O3", "-std=gnu11", "-Wall", "-Wextra", "-pthread"]


class Ceiling:
    """Compiles on entry; measures as often as asked."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="uspnet-bench-")
        self._program = Path(self._folder.name) / "ceiling"
        command = ["gcc", *FLAGS, str(SOURCE), "-o", str(self._program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            self._folder.cleanup()
            raise BenchError(f"ceiling.c does not compile\n{done.stderr}")
        return self

    def __exit__(self, *exc: object) -> None:
        self._folder.cleanup()

    def measure(self, writer: int, reader: int, seconds: float) -> float:
        """Packets a second from one core to the other."""
        command = [str(self._program), str(writer), str(reader), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError("the ceiling could not be measured")
        return float(done.stdout)
