# SPDX-License-Identifier: Apache-2.0
"""Filling C structs from dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from uspnet.fastpath import ffi


def set_members(c: Any, values: Any) -> None:
    """Sets the members of `*c` that a dataclass instance has fields for. Raises AttributeError."""
    for field in fields(values):
        set_member(c, field.name, getattr(values, field.name))


def set_member(c: Any, name: str, value: Any) -> None:
    """Sets a member of `*c`, or of the struct that it begins with. Raises AttributeError."""
    members = ffi.typeof(c).item.fields
    if name in dict(members):
        setattr(c, name, value)
        return
    first, member = members[0]
    if member.type.kind != "struct":
        raise AttributeError(f"{ffi.typeof(c).item.cname} has no member {name}")
    set_member(ffi.addressof(c, first), name, value)
