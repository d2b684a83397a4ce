# SPDX-License-Identifier: Apache-2.0
"""The C programs of this folder, compiled when they are first used."""

from __future__ import annotations

import atexit
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from lab import BenchError

FLAGS = ["-O3", "-std=gnu11", "-Wall", "-Wextra", "-pthread"]


@cache
def compiled(source: str) -> str:
    """Compile a file. Return the program's path, which is there until this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="uspnet-bench-")
    atexit.register(folder.cleanup)
    program = str(Path(folder.name, Path(source).stem))
    command = ["gcc", *FLAGS, str(Path(__file__).with_name(source)), "-o", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{source} does not compile\n{done.stderr}")
    return program
