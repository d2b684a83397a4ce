# SPDX-License-Identifier: Apache-2.0
"""Memory that C points to. Python frees cffi's memory once no Python object refers to it, whatever
a C struct still holds: so each object that fills structs owns what it puts into them.
"""

from __future__ import annotations

from typing import TypeVar

from uspnet.fastpath import c

Memory = TypeVar("Memory", bound="c.CData")


class Owned:
    """Keeps memory alive for as long as this object lives."""

    def __init__(self) -> None:
        self._kept: list[c.CData] = []

    def keep(self, memory: Memory) -> Memory:
        """Return `memory`, kept from now on."""
        self._kept.append(memory)
        return memory
