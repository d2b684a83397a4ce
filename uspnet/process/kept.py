# SPDX-License-Identifier: Apache-2.0
"""Copies of what ports and jobs have put into structs in shared memory, which a worker process that
somebody controls can overwrite: pointers, lengths of what they lead to, and descriptors.

Before the command's own code follows a pointer out of such a struct, it is put back to what it was.
Found by the declarations alone: descriptors as in `reach`; lengths are the members called `size`,
`room`, `count`, `blocks`, `chains`, …, `n_…`, `…_size` and `…_lead`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from uspnet.fastpath import ffi
from uspnet.memory import Data, Structs, structs
from uspnet.process.reach import LEAVES

LENGTH = re.compile(
    r"size|room|count|blocks|chains|descs_per_chain|ticks_hz|number"
    r"|n_\w+|\w+_size|\w+_lead|fd|\w+_fd"
)
# What loops write by themselves, and our own code doesn't use, or checks first.
WRITTEN = {"stamps", "origins"}
PARSED = {"struct pcap_source", "struct pcap_begun"}  # their `size` and `n_interfaces`
COUNTED = {"struct pcap_sink", "struct codel"}  # `number`, and `count`
LEFT_OUT = LEAVES | {"struct pcap_interface", "struct post", "struct hand", "struct segments"}


@dataclass(frozen=True)
class _Copy:
    where: Structs
    octets: bytes  # of all structs there


class Kept:
    """What a job's structs had in them when `record` was called. No worker runs meanwhile."""

    def __init__(self) -> None:
        self._copies: list[_Copy] = []

    def record(self, reached: Collection[int]) -> None:
        """Copy what is there now, in structs at these addresses."""
        found = (each for each in structs() if each.address in reached and _places(each.kind))
        self._copies = [_Copy(each, bytes(_memory(each))) for each in found]

    def renew(self, addresses: Collection[int]) -> None:
        """Copy anew what is in the structs at these addresses, and go on with all other copies."""
        others = [copy for copy in self._copies if copy.where.address not in addresses]
        self.record(addresses)
        self._copies += others

    def restore(self, only: Collection[int] | None = None) -> set[str]:
        """Write back what was changed since, but for what loops write. Return which members.
        `only`: in the structs at these addresses; None: in all.
        """
        wrong = set()
        alive = {each.serial for each in structs()}
        for copy in self._copies:
            if copy.where.serial not in alive:
                continue
            if only is not None and copy.where.address not in only:
                continue
            there = _memory(copy.where)
            for base in range(0, len(there), ffi.sizeof(copy.where.kind)):
                for name, start, size in _places(copy.where.kind):
                    here = slice(base + start, base + start + size)
                    if there[here] != copy.octets[here]:
                        there[here] = copy.octets[here]
                        wrong.add(f"{copy.where.kind.cname}: {name}")
        return wrong


def _memory(where: Structs) -> memoryview:
    pointer = ffi.cast("char *", where.address)
    return memoryview(ffi.buffer(pointer, where.count * ffi.sizeof(where.kind)))


@cache
def _places(kind: Data) -> tuple[tuple[str, int, int], ...]:
    """Return what is kept of a struct: each member's name, offset and size in bytes."""
    found: list[tuple[str, int, int]] = []
    if kind.cname in LEFT_OUT:
        return ()
    for name, field in kind.fields or ():
        inner, count = field.type, 1
        if inner.kind == "array":
            inner, count = inner.item, inner.length or 0
        size = ffi.sizeof(inner)
        if inner.kind == "struct":
            within = [(f"{name}.{n}", at, length) for n, at, length in _places(inner)]
        else:
            within = [(name, 0, size)] if _is_kept(name, inner, kind) else []
        for base in range(field.offset, field.offset + count * size, size):
            found += [(n, base + at, length) for n, at, length in within]
    return tuple(found)


def _is_kept(name: str, member: Data, kind: Data) -> bool:
    if member.kind in {"pointer", "function"}:
        return name not in WRITTEN
    length = LENGTH.fullmatch(name) and (kind.cname not in PARSED | COUNTED or name.endswith("_fd"))
    return bool(length) and member.kind == "primitive"
