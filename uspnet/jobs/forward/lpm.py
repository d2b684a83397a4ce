# SPDX-License-Identifier: Apache-2.0
"""Tables of prefixes, as `fastpath/lpm.h` looks them up."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from uspnet.fastpath import c, ffi, lib
from uspnet.memory import new

WORD, LENGTH = (1 << 64) - 1, 0xFF
FEW, FEW_BITS, MANY_BITS = 4096, 14, 20  # up to how many prefixes, bits that index an array


def key_of(address: int, length: int) -> int:
    """Return the number of a prefix; `Table` takes them in ascending order."""
    return address << 8 | length


@dataclass(frozen=True)
class Family:
    """IPv4 or IPv6. `bits`: those of an address."""

    name: str
    bits: int

    def key(self, address: bytes, length: int | None = None) -> int:
        """Return the key of a prefix; without a length, of the address alone."""
        number = int.from_bytes(address, "big")
        if length is None:
            return key_of(number, self.bits)
        return key_of(number >> (self.bits - length) << (self.bits - length), length)

    def longest(self, routes: Mapping[int, int], address: bytes) -> int | None:
        """Return what the longest prefix has that covers an address."""
        for length in range(self.bits, -1, -1):
            if (found := routes.get(self.key(address, length))) is not None:
                return found
        return None


IPV4, IPV6 = Family("IPv4", 32), Family("IPv6", 128)


class Table:
    """A `struct lpm`, in `c`: `routes` have what a look-up returns, 1 to 2^31 - 1, by `key_of`."""

    def __init__(self, family: Family, routes: Mapping[int, int]) -> None:
        keys = sorted(routes)
        up = 128 - family.bits
        high, low = (
            array("Q", [(key >> 8 << up) >> shift & WORD for key in keys]) for shift in (64, 0)
        )
        lengths = bytes([key & LENGTH for key in keys])
        found = array("I", map(routes.__getitem__, keys))
        self._given = [
            ffi.from_buffer(kind, data)
            for kind, data in (("uint64_t[]", high), ("uint64_t[]", low),
                               ("uint8_t[]", lengths), ("uint32_t[]", found))
        ]  # fmt: skip
        prefixes = ffi.new("struct lpm_prefixes *", [*self._given, len(keys)])
        self.c: c.Lpm = ffi.new("struct lpm *")
        self.c.bits = FEW_BITS if len(keys) <= FEW else MANY_BITS
        self._direct = self.c.direct = new("uint32_t[]", 1 << self.c.bits)
        self.c.n_direct = len(self._direct)
        used = ffi.new("uint32_t[2]")
        lib.lpm_build(self.c, prefixes, used)
        self._nodes = self.c.nodes = new("struct lpm_node[]", max(used[0], 1))
        self._values = self.c.values = new("uint32_t[]", max(used[1], 1))
        self.c.n_nodes, self.c.n_values = used
        lib.lpm_build(self.c, prefixes, used)
        self.bytes = sum(map(ffi.sizeof, (self._direct, self._nodes, self._values)))
        del self._given

    def find(self, address: bytes) -> int:
        """Return what the longest prefix has that covers an address; 0: there is none."""
        number = int.from_bytes(address.ljust(16, b"\0"), "big")
        return int(lib.lpm_look_up(self.c, number >> 64, number & WORD))
