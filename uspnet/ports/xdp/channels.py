# SPDX-License-Identifier: Apache-2.0
"""Which queues of its interface an `xdp:` port uses, and whether there are others now."""

from __future__ import annotations

from collections.abc import Iterator

from uspnet.errors import Usage
from uspnet.kernel import netdev
from uspnet.kernel.interface import Interface


def counted(interface: Interface) -> tuple[int, int] | None:
    """Return how many receive and transmit queues an interface has, in whose network namespace this
    thread is; None: nobody can say.
    """
    return interface.channels() or netdev.queues(interface.index)


class Channels:
    """The queues of an interface. `name`: of the port; `chosen`: the numbers that its option names,
    none: those of all receive queues. Raises Usage.
    """

    def __init__(self, name: str, interface: Interface, chosen: tuple[int, ...]) -> None:
        self.name, self.interface, self.chosen = name, interface, chosen
        self.told = counted(interface)
        most = max(chosen, default=0) + 1
        self.there, self.senders = self.told or (most, most)
        self.numbers = chosen or tuple(range(self.there))
        if self.numbers[-1] >= self.there:
            raise Usage(
                f"{name}: {interface.name} has {self.there} receive queues, numbered from 0",
                f"write queues=all; see: ethtool -l {interface.name}",
            )

    @property
    def sending(self) -> int:
        """Return how many of the numbers are those of transmit queues, too: the first ones."""
        return sum(number < self.senders for number in self.numbers)

    def check_sends(self, index: int) -> None:
        """Raise Usage unless the queue of that index can send: the kernel takes frames for one that
        it has not, and leaves them in the ring.
        """
        number = self.numbers[index]
        if number >= self.senders:
            name = self.interface.name
            text = f"{self.name}: queue {number} of {name} can't send: it has {self.senders}"
            hint = f"write queues=0; or give it more: ethtool -L {name} tx {number + 1}"
            raise Usage(f"{text} to transmit, numbered from 0", hint)

    def notice(self) -> str:
        """Return what the user should know at the start; "": nothing."""
        if self.told or self.chosen:
            return ""
        name = self.interface.name
        return f"{self.name}: the driver of {name} tells no queues: 0 is used, or write queues=0-N"

    def changes(self, receives: bool, sends: bool) -> Iterator[str]:
        """Return what has changed since the last call, for a job that receives, sends, or does
        both. The kernel takes no receive queue away that has a socket.
        """
        before, told = (self.there, self.senders), self.interface.channels()
        if told and told != before:
            self.there, self.senders = told
            if receives and self.there != before[0]:
                yield self._receivers(before[0])
            if sends and self.senders < min(before[1], self.numbers[-1] + 1):
                text = f"{self.name}: {self.interface.name} has {self.senders} transmit queues now,"
                yield f"{text} not {before[1]}: what is sent by the others stays in their rings"

    def _receivers(self, before: int) -> str:
        text = f"{self.name}: {self.interface.name} has {self.there} receive queues now,"
        text += f" not {before}"
        if self.there > len(self.numbers):
            text += ": the kernel's stack gets what arrives on those that this job does not use"
        if self.there > before and not self.chosen:
            text += "; a new start uses all"
        return text
