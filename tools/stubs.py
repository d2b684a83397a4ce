# SPDX-License-Identifier: Apache-2.0
"""Write uspnet/fastpath/_fastpath.pyi, the types of the C half for mypy and editors, from what the
built fast path declares (the fences that build.py gives to cffi). `--check` only compares.

`struct virtq_queue` becomes the class `VirtqQueue`. A struct, a pointer to it and an array of it
are one type here, as cffi takes one for another nearly everywhere.
"""

from __future__ import annotations

import keyword
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uspnet.fastpath import ffi, lib

PATH = Path(__file__).resolve().parent.parent / "uspnet/fastpath/_fastpath.pyi"
COLUMNS = 100
HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
"""The C fast path's types, made by tools/stubs.py: change the C headers, then run make man."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, Self, SupportsIndex, TypedDict, TypeVar, overload

from _typeshed import ReadableBuffer

T = TypeVar("T")
G = TypeVar("G")
S = TypeVar("S")
D = TypeVar("D", bound=CData)
Octets = bytes  # structs have fields named bytes

class CData:
    """A pointer, a struct or an array of C."""

    def __bool__(self) -> bool: ...
    def __len__(self) -> int: ...
    def __int__(self) -> int: ...

class Struct(CData):
    """A struct, a pointer to one, or an array of them."""

    def __getitem__(self, index: SupportsIndex | slice) -> Self: ...
    def __setitem__(self, index: SupportsIndex, value: Self | Mapping[str, Any]) -> None: ...
    def __iter__(self) -> Iterator[Self]: ...
    def __add__(self, elements: int) -> Self: ...

class Pointer(CData, Generic[T]):
    """A pointer to numbers or pointers, or an array of them."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    @overload
    def __setitem__(self, index: SupportsIndex, value: T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[T] | bytes) -> None: ...
    def __iter__(self) -> Iterator[T]: ...
    def __add__(self, elements: int) -> Self: ...
    @overload
    def __sub__(self, elements: int) -> Self: ...
    @overload
    def __sub__(self, other: Pointer[T]) -> int: ...

class Inline(Generic[G, S]):
    """A struct or an array inside a struct: read as a view, set from a copy, a dict or a list."""

    def __get__(self, owner: object, kind: type) -> G: ...
    def __set__(self, owner: object, value: S) -> None: ...
'''
FFI_HEAD = """
class FFI:
    NULL: Any
    errno: int
    class error(Exception): ...
    def sizeof(self, what: str | CData) -> int: ...
    def alignof(self, what: str | CData) -> int: ...
    def list_types(self) -> tuple[list[str], list[str], list[str]]: ...
    def offsetof(self, struct: str, *fields: str | int) -> int: ...
    def typeof(self, what: str | CData | Callable[..., Any]) -> Any: ...
    def buffer(self, data: CData, size: int = ...) -> memoryview: ...
    def memmove(self, to: CData, of: CData | ReadableBuffer, size: int) -> None: ...
    def release(self, data: CData) -> None: ...
    def new_allocator(
        self, alloc: Callable[[int], CData], free: Callable[[Any], None]
    ) -> Callable[..., Any]: ...
    def string(self, data: CData, longest: int = ...) -> bytes: ...
    @overload
    def addressof(self, data: D, /) -> D: ...
    @overload
    def addressof(self, data: CData | Lib, name: str | int, /, *more: str | int) -> Any: ...
"""
NUMBERS = [f"{sign}int{bits}_t" for bits in (8, 16, 32, 64) for sign in ("", "u")]


def class_name(struct: str) -> str:
    """Return `VirtqQueue` for `struct virtq_queue`."""
    return "".join(word.capitalize() for word in struct.removeprefix("struct ").split("_"))


def python_type(kind: Any) -> str:
    """Return the Python type of a C value: a field as it is read, or a function's result."""
    match kind.kind:
        case "void":
            return "None"
        case "primitive":
            return {"double": "float", "char": "Octets"}.get(kind.cname, "int")
        case "struct":
            return class_name(kind.cname)
        case "function":
            arguments = ", ".join(map(python_type, kind.args))
            return f"Callable[[{arguments}], {python_type(kind.result)}]"
        case "pointer" | "array":
            if kind.item.kind == "struct":
                return class_name(kind.item.cname)
            return "CData" if kind.item.kind == "void" else f"Pointer[{python_type(kind.item)}]"
    return "int"  # an enum


def argument(kind: Any) -> str:
    """Return what a function takes: bytes, too, where C wants a pointer to them."""
    of_bytes = kind.kind == "pointer" and kind.item.cname in {"char", "uint8_t"}
    return python_type(kind) + (" | Octets" if of_bytes else "")


def initial(kind: Any) -> str:
    """Return what sets a field of a C type, alone or in the dict that makes its struct."""
    read = python_type(kind)
    if kind.kind == "struct":
        return f"{read} | {read}Fields"
    if kind.kind == "array":
        of_bytes = " | Octets" if kind.item.cname in {"char", "uint8_t"} else ""
        return f"Sequence[{initial(kind.item)}] | {read}{of_bytes}"
    return read


def begins_with(struct: str) -> str:
    """Return the struct that this one begins with, as each ring's does with `struct queue`."""
    fields = fields_of(struct)
    return fields[0][1].cname if fields and fields[0][1].kind == "struct" else ""


def base_class(struct: str) -> Iterator[str]:
    """Yield what all structs that begin with this one have: `AnyQueue` has `q`."""
    name, read = next(fields_of(each)[0] for each in STRUCTS if begins_with(each) == struct)
    yield f"\nclass Any{class_name(struct)}(Struct):"
    yield f"    {name}: Inline[{python_type(read)}, {initial(read)}]"


def struct_class(struct: str) -> Iterator[str]:
    """Yield one struct's class, without fields whose name is a keyword of Python."""
    first = begins_with(struct)
    base = f"Any{class_name(first)}" if first in BASES else "Struct"
    yield f"\nclass {class_name(struct)}({base}):"
    for name, kind in fields_of(struct):
        inline = kind.kind in {"struct", "array"}
        read = python_type(kind)
        yield f"    {name}: {f'Inline[{read}, {initial(kind)}]' if inline else read}"
    if not fields_of(struct):
        yield "    ..."


def fields_class(struct: str) -> Iterator[str]:
    """Yield the dict that sets a struct inside another."""
    yield f"\nclass {class_name(struct)}Fields(TypedDict, total=False):"
    yield from (f"    {name}: {initial(kind)}" for name, kind in fields_of(struct))


def fields_of(struct: str) -> list[tuple[str, Any]]:
    """Return the names and C types of the fields."""
    fields = ffi.typeof(struct).fields or ()
    return [(name, field.type) for name, field in fields if not keyword.iskeyword(name)]


def inside_others(structs: list[str]) -> list[str]:
    """Return the structs that are part of others, alone or in an array."""
    kinds = [kind for struct in structs for _, kind in fields_of(struct)]
    parts = {kind.item.cname if kind.kind == "array" else kind.cname for kind in kinds}
    return [struct for struct in structs if struct in parts]


def lib_class() -> Iterator[str]:
    """Yield constants and functions."""
    yield "\nclass Lib:"
    for name in sorted(dir(lib)):
        value = getattr(lib, name)
        if isinstance(value, int):
            yield f"    {name}: int"
            continue
        kind = ffi.typeof(value)
        taken = [f"_{place}: {argument(each)}, " for place, each in enumerate(kind.args)]
        head = "".join(["self, ", *taken, "/"]) if taken else "self"
        yield f"    def {name}({head}) -> {python_type(kind.result)}: ..."


def ffi_class(structs: list[str]) -> Iterator[str]:
    """Yield `ffi`, whose methods return what their first argument names."""
    yield FFI_HEAD.rstrip()
    for method, rest in (("new", "init: object = ..."), ("cast", "value: CData | int")):
        for struct in structs:
            what = kinds_of(struct)
            yield from overload(f"{method}(self, {what}, {rest}) -> {class_name(struct)}")
        for number in NUMBERS:
            yield from overload(f"{method}(self, {kinds_of(number)}, {rest}) -> Pointer[int]")
        yield from overload(f"{method}(self, cdecl: str, {rest}) -> Any")
    yield from overload("from_buffer(self, memory: ReadableBuffer) -> Pointer[Octets]")
    for number in NUMBERS:
        rest = "memory: ReadableBuffer, require_writable: bool = ...) -> Pointer[int]"
        yield from overload(f"from_buffer(self, {kinds_of(number)}, {rest}")
    yield from overload(
        "from_buffer(self, cdecl: str, memory: ReadableBuffer, require_writable: bool = ...) -> Any"
    )


def kinds_of(element: str) -> str:
    """Return the parameter that names a pointer to such elements, or an array of them."""
    return f'cdecl: Literal["{element} *", "{element}[]"]'


def overload(signature: str) -> Iterator[str]:
    """Yield one way to call a method."""
    yield "    @overload"
    yield f"    def {signature}: ..."


def wrapped(line: str) -> str:
    """Return a line with its outermost brackets on lines of their own, if it is too long."""
    if len(line) <= COLUMNS:
        return line
    opening = min(line.find(bracket) for bracket in "([" if bracket in line)
    closing = line.rfind("])"[line[opening] == "("])
    head, body, tail = line[: opening + 1], line[opening + 1 : closing], line[closing:]
    return f"{head}\n        {body}\n    {tail}"


STRUCTS = [f"struct {name}" for name in ffi.list_types()[1]]
BASES = ("struct queue", "struct worker")  # others begin with them, and are used as them


def make() -> str:
    """Return the whole stub."""
    lines = [HEAD.rstrip()]
    for struct in BASES:
        lines += base_class(struct)
    for struct in STRUCTS:
        lines += struct_class(struct)
    for struct in inside_others(STRUCTS):
        lines += fields_class(struct)
    lines += [*lib_class(), *ffi_class(STRUCTS), "", "ffi: FFI", "lib: Lib"]
    return "\n".join(map(wrapped, lines)) + "\n"


def main() -> int:
    """Write the stub, or with `--check` say whether it is up to date."""
    text = make()
    if "--check" in sys.argv[1:]:
        if PATH.exists() and PATH.read_text() == text:
            return 0
        print(f"{PATH.name} is out of date: run make man")
        return 1
    PATH.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
