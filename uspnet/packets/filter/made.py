# SPDX-License-Identifier: Apache-2.0
"""A compiled filter, and what is made of it for C."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from uspnet.fastpath import c
from uspnet.machine_code import machine_code
from uspnet.memory import new
from uspnet.packets.filter import native
from uspnet.packets.filter.libpcap import listing
from uspnet.packets.filter.program import OPS, Step, wrong


@dataclass(frozen=True)
class Filter:
    """A filter: its text, and the program that libpcap has made of it."""

    text: str
    steps: Sequence[Step]

    def make(self) -> c.Filter:
        """Make it for C: `struct filter *`, with machine code where this machine may have it."""
        made: c.Filter = new("struct filter *")
        made.n = len(self.steps)
        for at, step in enumerate(self.steps):
            each = made.steps[at]
            each.code, each.if_true, each.if_false, each.value = step
        code = self.native()
        if memory := code and machine_code("uspnet-filter", code):
            made.code = memory.base
            weakref.finalize(made, memory.close).atexit = False
        return made

    @property
    def asks_length(self) -> bool:
        """Whether it looks at the packet's length on the wire."""
        return any(OPS[step.code].how == "length" for step in self.steps)

    def native(self) -> bytes:
        """Return the program as machine code; empty: there is none for this machine, or of a
        program that can't be run.
        """
        if os.uname().machine != "x86_64" or wrong(self.steps):
            return b""
        return native.emit(self.steps)

    def listing(self) -> list[str]:
        """Return the program as tcpdump -d prints it, a line for each instruction."""
        return listing(self.steps)
