# SPDX-License-Identifier: Apache-2.0
"""Whether two versions of the fast path agree about the memory that they share."""

from __future__ import annotations

import hashlib
from functools import cache

from uspnet.fastpath import ffi, lib
from uspnet.memory import Data


@cache
def layout() -> str:
    """Return a hash over every struct's members, with their places and types, and over all integer
    constants, enumerations among them. Takes some hundredths of a second.
    """
    structs = [(name, _members(ffi.typeof(f"struct {name}"))) for name in ffi.list_types()[1]]
    constants = [(name, value) for name in dir(lib) if isinstance(value := getattr(lib, name), int)]
    return hashlib.sha256(repr((structs, constants)).encode()).hexdigest()


def _members(kind: Data) -> list[tuple[object, ...]]:
    if kind.fields is None:  # declared only
        return []
    rows = [(n, f.offset, f.type.cname, f.bitshift, f.bitsize) for n, f in kind.fields]
    return [(ffi.sizeof(kind), ffi.alignof(kind)), *rows]
