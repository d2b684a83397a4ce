# SPDX-License-Identifier: Apache-2.0
"""When a capture goes on with another file, and who is told the names."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.ports.pcap.parts import ENDLESS


class Teller:
    """Is called with the name of each file that is complete."""

    def open(self) -> None:
        """Get ready, before the first file begins. Raises UspnetError."""

    def __call__(self, text: str) -> None:
        """Tell a name. Raises OSError."""
        raise NotImplementedError

    def close(self) -> None:
        """Free what `open` took."""


@dataclass(frozen=True)
class Rotation:
    """When a file ends: with so many bytes or packets, after so many seconds, or when the time is a
    multiple of `interval` seconds. Another one follows if it `turns`; of those, the last `keep` are
    kept (0: all), and at most `stop` are written (0: any number). `time_first`: the time stands
    before the number in names. `tell` tells their names.
    """

    octets: int = ENDLESS
    packets: int = ENDLESS
    duration: float = 0.0
    interval: float = 0.0
    turns: bool = True
    keep: int = 0
    stop: int = 0
    time_first: bool = False
    tell: Teller | None = None


@dataclass
class Named:
    """A file that was written: its name in the folder, and which file that was."""

    name: str
    inode: tuple[int, int]
    packets: int = 0
    complete: bool = False
