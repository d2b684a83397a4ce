# SPDX-License-Identifier: Apache-2.0
"""The kernel's own types (BTF): the numbers by which eBPF programs call its functions (kfuncs).

Reference: Linux Documentation/bpf/btf.rst, bpf/kfuncs.rst; uapi/linux/btf.h.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

KERNEL = Path("/sys/kernel/btf/vmlinux")
HEADER = struct.Struct("=HBBIIIII")  # struct btf_header
MAGIC = 0xEB9F
WORD = 4  # bytes
FUNC = 12
KINDS = {  # by BTF_KIND_…: words of a type, and more of them for each of its members
    **dict.fromkeys((2, 7, 8, 9, 10, 11, FUNC, 16, 18), (3, 0)),  # a name, its kind, and a type
    **dict.fromkeys((1, 14, 17), (4, 0)),  # numbers, variables, tags of declarations
    3: (6, 0),  # arrays
    **dict.fromkeys((6, 13), (3, 2)),  # enumerations, and prototypes of functions
    **dict.fromkeys((4, 5, 15, 19), (3, 3)),  # structs, unions, sections, enums of 64 bits
}


@cache
def function(name: str) -> int:
    """Return the number of a function of the running kernel; 0: it has none of this name, or does
    not say.
    """
    try:
        return find_function(KERNEL.read_bytes(), name)
    except OSError:
        return 0


def find_function(data: bytes, name: str) -> int:
    """Return the number of a function in BTF; 0: it is not there, or not understood."""
    try:
        magic, _, _, size, types_at, types_size, names_at, names_size = HEADER.unpack_from(data)
    except struct.error:
        return 0
    begin, names = size + types_at, size + names_at
    found = data.find(b"\0%b\0" % name.encode(), names, names + names_size)
    types = data[begin : begin + types_size]
    if magic != MAGIC or found < 0 or len(types) != types_size or types_size % WORD:
        return 0
    return _number(memoryview(types).cast("I"), found + 1 - names)


def _number(words: memoryview[int], name: int) -> int:
    """Return the number of the function with that name. Types have none: they are counted, 100,000
    and more of them, in the order of the file.
    """
    at, number, kinds = 0, 1, KINDS
    try:
        while True:
            info = words[at + 1]
            kind = info >> 24 & 0x1F
            if kind == FUNC and words[at] == name:
                return number
            size, each = kinds[kind]
            at += size + each * (info & 0xFFFF)
            number += 1
    except LookupError:  # the end, or a kind of a later kernel's
        return 0
