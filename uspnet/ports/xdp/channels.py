# SPDX-License-Identifier: Apache-2.0
"""Which receive queues of its interface an `xdp:` port uses, and whether there are others now."""

from __future__ import annotations

from uspnet.errors import Usage
from uspnet.kernel.interface import Interface


class Channels:
    """The receive queues of an interface. `name`: of the port; `chosen`: the numbers that its
    option names, none: all. Raises Usage.
    """

    def __init__(self, name: str, interface: Interface, chosen: tuple[int, ...]) -> None:
        self.name, self.interface, self.chosen = name, interface, chosen
        self.there = interface.channels()[0]
        self.numbers = chosen or tuple(range(self.there))
        if self.numbers[-1] >= self.there:
            raise Usage(
                f"{name}: {interface.name} has {self.there} receive queues, numbered from 0",
                f"write queues=all; see: ethtool -l {interface.name}",
            )

    def change(self) -> str:
        """Return what has changed since the last call; "": nothing. The kernel takes no queue away
        that has a socket.
        """
        before, self.there = self.there, self.interface.channels()[0]
        if self.there == before:
            return ""
        text = f"{self.name}: {self.interface.name} has {self.there} receive queues now,"
        text += f" not {before}"
        if self.there > len(self.numbers):
            text += ": the kernel's stack gets what arrives on those that this job does not use"
        if self.there > before and not self.chosen:
            text += "; a new start uses all"
        return text
