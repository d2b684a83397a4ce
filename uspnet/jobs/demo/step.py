# SPDX-License-Identifier: Apache-2.0
"""One process of the chain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field

from uspnet.answer import Json
from uspnet.errors import DeviceTimeout, NotSupported, UspnetError
from uspnet.system import children
from uspnet.system.launch import launch

START_S = 20.0  # for each process to have its socket up, on a busy machine
RUN_S = 60.0  # for all packets to arrive
PATIENCE_S = 5.0  # for the last packets, when the sender has ended


@dataclass
class Step:
    """One process: its arguments and its result."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    result: Json = field(default_factory=dict)

    def launch(self) -> None:
        """Start the process, in a session of its own: the demo passes the terminal's signals on."""
        limits = ["--duration", f"{RUN_S:g}", "--json"]  # in case the demo can not end it
        self.process = launch(children.uspnet(*self.arguments, *limits), os.getpid())

    def ended(self) -> bool:
        """Return whether the process has ended."""
        return self.process is not None and self.process.poll() is not None

    def finish(self, *, interrupt: bool = False) -> None:
        """Wait for the end and read the result. Raise its error. `interrupt`: send SIGINT first."""
        process = self.process
        if not process:
            return
        if interrupt and process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            said = process.communicate(timeout=PATIENCE_S + START_S)
        except subprocess.TimeoutExpired:
            raise DeviceTimeout(f"demo: {self.name} does not end", "see: uspnet doctor") from None
        out, errors = (each.decode(errors="replace") for each in said)
        try:
            self.result = json.loads(out)
        except ValueError:
            raise UspnetError(f"demo: {self.name} failed: {errors or out}") from None
        if "error" in self.result:
            kind = NotSupported if self.result["error"] == "NotSupported" else UspnetError
            raise kind(f"demo: {self.name}: {self.result['message']}", self.result.get("hint", ""))

    def rate(self, name: str) -> float:
        """Return packets per second from its first packet to its last. `name`: the count to use."""
        active = self.result.get("active_s", 0.0)
        return self.result[name] / active if active else 0.0

    def kill(self) -> None:
        """Kill the process if it still runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
