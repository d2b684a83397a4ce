# SPDX-License-Identifier: Apache-2.0
"""Loops as Python sees them: a dataclass fills the struct of `fastpath/loops/<name>.c`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.structs import check_pair, set_members
from uspnet.memory import new


@dataclass
class Loop:
    """One worker's loop. A subclass names it, and has a field for each member that it sets:

    `class Forward(Loop, name="forward"): full: int = lib.FULL_DROP`

    `c` is the C struct, which begins with `struct worker`. What its pointers lead to is kept alive
    by the dataclass.
    """

    name: ClassVar[str] = ""
    struct: ClassVar[str] = ""  # where several loops share one

    def __init_subclass__(cls, *, name: str = "", struct: str = "", **more: object) -> None:
        super().__init_subclass__(**more)
        cls.name = name or cls.name
        cls.struct = struct or (f"{name}_loop" if name else cls.struct)
        if cls.name:
            check_pair(cls.struct, "worker", f"loop_{cls.name}")

    def __post_init__(self) -> None:
        self.c = new(f"struct {self.struct} *")
        set_members(self.c, self)

    @property
    def worker(self) -> c.Worker:
        """Return the struct as `struct worker *`."""
        return ffi.cast("struct worker *", self.c)

    def run(self) -> None:
        """Run the loop until the worker is to stop. Releases the GIL."""
        getattr(lib, f"loop_{self.name}")(self.worker)


@dataclass
class Drop(Loop, name="drop"):
    """Counts packets, and keeps none."""


@dataclass
class Forward(Loop, name="forward"):
    """Packets leave as they came. `full`: what a full ring means, lib.FULL_DROP or FULL_WAIT."""

    full: int = lib.FULL_DROP
