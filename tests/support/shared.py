# SPDX-License-Identifier: Apache-2.0
"""Which parts of what C works with another process could not map."""

from __future__ import annotations

from uspnet.fastpath import ffi, lib


def address_of(memory):
    return int(ffi.cast("uintptr_t", memory))


def mapping_of(memory):
    """The name of what is mapped at an address: a file's path, [heap], or nothing."""
    address = address_of(memory)
    with open("/proc/self/maps") as lines:
        for line in lines:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if start <= address < end:
                return "".join(line.split(maxsplit=5)[5:]).strip()
    return ""


def unshared(*pointers):
    """Follows C structs to all that they lead to; the names of what is in private memory. None on a
    build for AddressSanitizer, which keeps everything on the heap."""
    seen = set()
    return [] if lib.built_with_asan() else [each for p in pointers for each in _follow(p, seen)]


def _follow(pointer, seen):
    if not pointer or address_of(pointer) in seen:
        return []
    seen.add(address_of(pointer))
    kind = ffi.typeof(pointer).item
    if mapping_of(pointer)[:1] in {"", "["}:
        return [kind.cname]
    return _within(pointer[0], kind, seen) if kind.kind == "struct" else []


def _within(struct, kind, seen):
    found = []
    for name, field in kind.fields or ():
        value, inner = getattr(struct, name), field.type
        if inner.kind == "pointer" and inner.item.kind not in {"function", "void"}:
            found += [f"{kind.cname}.{name}: {each}" for each in _follow(value, seen)]
        elif inner.kind == "struct":
            found += _within(value, inner, seen)
        elif inner.kind == "array" and inner.length and inner.item.kind == "struct":
            found += [each for one in value for each in _within(one, inner.item, seen)]
    return found
