# SPDX-License-Identifier: Apache-2.0
"""The base of all fields, and how they are found.

A field is a file of this folder and a struct of the same name in `fastpath/fields/`; or the class
that a package offers in the entry-point group `uspnet.packets.fields`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from uspnet import registry
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.structs import check_pair, set_members
from uspnet.memory import new

FIELDS: dict[str, type[Field]] = {}


@dataclass
class Field:
    """Writes into each packet. A subclass names it, and has a field for each member that it sets:

    `class CounterByte(Field, name="counter_byte"): at: int = 0`

    `c` is the C struct `<name>_field`, which begins with `struct field`; `field_<name>` writes it.
    """

    name: ClassVar[str] = ""
    repeats = False  # all that it keeps is a counter `next` of packets: they can be made once more

    def __init_subclass__(cls, *, name: str, **more: object) -> None:
        super().__init_subclass__(**more)
        if name in FIELDS:
            raise TypeError(f"two fields {name}: {FIELDS[name].__module__} and {cls.__module__}")
        check_pair(f"{name}_field", "field", f"field_{name}")
        cls.name = name
        FIELDS[name] = cls

    def make(self, following: c.Field = ffi.NULL, part: tuple[int, int] = (0, 1)) -> c.Struct:
        """Make the C struct for one worker, linked before `following`, a `struct field *`. `part`:
        the worker's number, and how many there are.
        """
        made: c.Struct = new(f"struct {self.name}_field *")
        set_members(made, self)
        self.link(made, following)
        return made

    def link(self, made: c.Struct, following: c.Field) -> None:
        """Set the function of a C struct, and the one that is applied after it."""
        base = ffi.cast("struct field *", made)
        base.apply, base.next = ffi.addressof(lib, f"field_{self.name}"), following

    def writes(self, at: int, size: int) -> bool:
        """Return whether it is known to write some of the `size` bytes at offset `at`."""
        del at, size
        return False

    def takes(self, frame: bytes) -> bool:
        """Return whether it may write a frame; False: frames like this one it leaves alone."""
        del frame
        return True

    def follows(self, at: int) -> bool:
        """Return whether it corrects a checksum at offset `at`."""
        del at
        return False

    def reach(self) -> int:
        """Return how many bytes a frame must have so that it writes none behind the frame's end."""
        return 0

    def head(self, length: int) -> int:
        """Return how many bytes of a frame, the first ones of `length`, it may change. It leaves
        the others alone, and where the frame begins.
        """
        return length

    def check_length(self, shortest: int) -> None:
        """Raise Usage if a frame of `shortest` bytes is too short for it."""
        if shortest < self.reach():
            raise Usage(
                f"{self.name} writes bytes up to {self.reach()} of frames of {shortest}",
                "vary other fields, or make every packet longer by --size",
            )


def make_chain(fields: Sequence[Field], number: int = 0, workers: int = 1) -> list[c.Struct]:
    """Make one worker's C structs of fields, the last field's first; each points to the next one to
    be applied, which stands before it.
    """
    made: list[c.Struct] = []
    for each in reversed(fields):
        following = ffi.cast("struct field *", made[-1]) if made else ffi.NULL
        made.append(each.make(following, (number, workers)))
    return made


@cache
def fields() -> dict[str, type[Field]]:
    """Return every field by name."""
    registry.load("uspnet.packets.fields")
    return FIELDS


def find_field(name: str) -> type[Field]:
    """Return the field class of this name. Raise Usage."""
    if name not in fields():
        hint = f"fields are: {', '.join(sorted(fields()))}"
        raise Usage(f"there is no field {name}", registry.failures("uspnet.packets.fields") + hint)
    return fields()[name]
