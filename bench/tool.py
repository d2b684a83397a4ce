# SPDX-License-Identifier: Apache-2.0
"""uspnet as a contestant: one command of it, whose `--json` object is the result."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

from lab import ROOT, BenchError, Process

sys.path.insert(0, str(ROOT))
from tests.support.identity import check

END_S = 20.0  # for a command that should be ending, to end


class Uspnet(Process):
    """`uspnet WORDS… --json` on one core, its main thread included."""

    def __init__(self, *words: str | float, core: int | str, netns: str | None = None) -> None:
        text = [str(word) for word in words]
        super().__init__([sys.executable, "-m", "uspnet", *text, "--json"], core, netns)
        self.name = f"uspnet {text[0]}"

    def stop(self) -> dict[str, Any]:
        """End it as Ctrl-C does, and return its result."""
        self.child.send_signal(signal.SIGINT)
        return self.result(0.0)

    def result(self, duration_s: float) -> dict[str, Any]:
        """Its result; it has `duration_s` left to run."""
        deadline = time.monotonic() + duration_s + END_S
        while not (line := self.line(deadline)).startswith("{"):
            pass
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise BenchError(f"{self.name}: {result['message']}")
        check(result)
        return result


def run(*words: str | float, seconds: float, core: int, netns: str | None = None) -> dict[str, Any]:
    """Run a command for so many seconds and return its result."""
    with Uspnet(*words, "--duration", seconds, core=core, netns=netns) as command:
        return command.result(seconds)
