# SPDX-License-Identifier: Apache-2.0
"""`--mode attempt`: the worker makes the system call that the variable ATTEMPT names."""

import json
import os
from dataclasses import dataclass
from typing import ClassVar

from uspnet.fastpath import ffi
from uspnet.jobs.forward.mode import Mode
from uspnet.sandbox.calls import number


@dataclass
class Attempt(Mode, mode="attempt"):
    """ATTEMPT: JSON, the call's name and its arguments. "parent": the command's process."""

    help: ClassVar[str] = "makes a system call"

    def __post_init__(self):
        super().__post_init__()
        name, arguments = json.loads(os.environ["ATTEMPT"])
        self.c.call = number(name, os.uname().machine)
        for at, value in enumerate(arguments):
            self.c.arguments[at] = self._argument(value)

    def _argument(self, value):
        if value == "parent":
            return os.getpid()
        if isinstance(value, str):
            self.c.text = value.encode()
            return int(ffi.cast("uintptr_t", self.c.text))
        return value
