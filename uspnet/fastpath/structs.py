# SPDX-License-Identifier: Apache-2.0
"""Filling C structs from dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from uspnet.fastpath import c, ffi, lib

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_pair(struct: str, base: str, function: str) -> None:
    """Check that C has `struct <struct>`, which begins with `struct <base>`, and `function`. Raises
    TypeError, with what to look for.
    """
    try:
        begins = ffi.typeof(f"struct {struct}")
    except ffi.error:
        raise TypeError(_missing(f"struct {struct}")) from None
    if not hasattr(lib, function):
        raise TypeError(_missing(f"{function}()"))
    while begins.kind == "struct" and begins.cname != f"struct {base}":
        members = begins.fields
        if not members:
            break
        begins = members[0][1].type
    if begins.cname != f"struct {base}":
        raise TypeError(f"struct {struct} does not begin with struct {base}")


def _missing(what: str) -> str:
    return (
        f"no {what} in the fast path: declare it between // [python] and // [c] of its C file, "
        "then run uspnet/fastpath/build.py"
    )


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
