# SPDX-License-Identifier: Apache-2.0
"""What loops reach through their structs: descriptors, functions, and mapped memory.

Found by the declarations alone: descriptors are the members called `fd` or `…_fd`; a pointer `x`
beside a number `n_x` leads to so many structs, any other one to a single struct.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache

from uspnet.fastpath import c, ffi, lib
from uspnet.mapping import Mapping, mapping_at
from uspnet.memory import Data

# Structs in great numbers, whose pointers lead to memory that every worker process has.
LEAVES = {
    *("struct burst", "struct frame_template", "struct stream", "struct counters"),
    *("struct mac_entry", "struct delayed", "struct first_flow", "struct seen_packet"),
    *("struct lpm_node", "struct hop", "struct traced"),
}


class Reach:
    """All that is reached from `roots`, pointers to structs. `lent`: the descriptors that may be.

    The structs may have been written by a worker process that somebody else controls: what is
    outside of mappings is not read, and other descriptors are not reached.
    `slots` are the places of function pointers, with the addresses that they hold.
    """

    def __init__(self, roots: Iterable[c.CData], lent: Collection[int]) -> None:
        self.lent = lent
        self.fds: set[int] = set()
        self.slots: dict[int, int] = {}
        self.maps: dict[int, Mapping] = {}  # by serial
        self._seen: set[tuple[int, str]] = set()
        for root in roots:
            self._follow(root, 1)

    def with_these(self, roots: Sequence[c.CData]) -> Reach:
        """Return what is reached from other roots, too. Machine code is what those alone reach: it
        takes the place of what there is.
        """
        made = Reach(roots, self.lent)
        code = {n for n, each in self.maps.items() if each.flags & lib.MEMORY_EXECUTABLE}
        made.maps |= {n: each for n, each in self.maps.items() if n not in code}
        made.fds |= self.fds
        made.slots |= self.slots
        made._seen |= self._seen
        return made

    @property
    def addresses(self) -> set[int]:
        """Return where the structs and arrays are."""
        return {address for address, _ in self._seen}

    def _follow(self, pointer: Data, count: int) -> None:
        address, kind = _address(pointer), ffi.typeof(pointer).item
        if not address or (address, kind.cname) in self._seen:
            return
        self._seen.add((address, kind.cname))
        mapping = self._map(address)
        if kind.kind != "struct" or kind.cname in LEAVES or not kind.fields:
            return
        if not mapping or mapping.flags & lib.MEMORY_READ_ONLY:  # a file's contents
            return
        for index in range(min(count, mapping.room(address) // ffi.sizeof(kind))):
            self._look_into(pointer[index], kind)

    def _map(self, address: int) -> Mapping | None:
        near = next((each for each in self.maps.values() if each.holds(address)), None)
        mapping = near or mapping_at(address)
        if mapping:
            self.maps[mapping.serial] = mapping
        return mapping

    def _look_into(self, struct: Data, kind: Data) -> None:
        for name, inner, what in _members(kind):
            value = getattr(struct, name)
            if what == "fd":
                self.fds |= {value} & set(self.lent)
            elif what == "function":
                if value:
                    self.slots[_address(ffi.addressof(struct, name))] = _address(value)
            elif what == "struct":
                self._look_into(value, inner)
            elif what == "array":
                for each in value:
                    self._look_into(each, inner)
            else:
                self._follow(value, getattr(struct, f"n_{name}", 1))


@cache
def _members(kind: Data) -> tuple[tuple[str, Data, str], ...]:
    """Return the members of a struct that lead somewhere: name, type and what it is."""
    found = []
    for name, field in kind.fields:
        inner, what = field.type, ""
        if inner.kind == "primitive":
            what = (
                "fd" if (name == "fd" or name.endswith("_fd")) and inner.cname == "int32_t" else ""
            )
        elif inner.kind == "pointer":
            what = "pointer"
        elif inner.kind == "function":
            what = "function"
        elif inner.kind == "struct" and inner.cname not in LEAVES:
            what = "struct" if _members(inner) else ""
        elif inner.kind == "array" and inner.item.kind == "struct" and inner.length:
            inner = inner.item
            what = "array" if inner.cname not in LEAVES and _members(inner) else ""
        if what:
            found.append((name, inner, what))
    return tuple(found)


def _address(pointer: Data) -> int:
    return int(ffi.cast("uintptr_t", pointer))
