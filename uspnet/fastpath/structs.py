# SPDX-License-Identifier: Apache-2.0
"""Filling C structs from dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from uspnet.fastpath import c, ffi

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def set_members(struct: c.Struct, values: DataclassInstance) -> None:
    """Set the members of `*struct` that a dataclass instance has fields for. Raises
    AttributeError.
    """
    for field in fields(values):
        set_member(struct, field.name, getattr(values, field.name))


def set_member(struct: c.Struct, name: str, value: object) -> None:
    """Set a member of `*struct`, or of the struct that it begins with. Raises AttributeError."""
    members = ffi.typeof(struct).item.fields
    if name in dict(members):
        setattr(struct, name, value)
        return
    first, member = members[0]
    if member.type.kind != "struct":
        raise AttributeError(f"{ffi.typeof(struct).item.cname} has no member {name}")
    set_member(ffi.addressof(struct, first), name, value)
