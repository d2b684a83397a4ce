# SPDX-License-Identifier: Apache-2.0
"""Registers as data: one line each, read and written by name, with their fields as keywords.

    class Regs(Registers, bytes=0x20000):
        STATUS = RO(0x0008, "Device Status, §13.4.2", FD=0, LU=1, SPEED=(6, 7))
        RDT = RW(0x2818, "Receive Descriptor Tail, §13.4.29", count=4, stride=0x100)

    regs = Regs(window, "0000:03:00.0")
    regs.STATUS.wait(LU=1, timeout=1.0)
    regs.RDT[2].write(7)

A field is a bit, or a pair (lowest bit, highest bit). A chip's table inherits its family's and
overrides rows. No other file shifts or masks a register's value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol, Self, overload

from uspnet.errors import DeviceFault, DeviceTimeout

Field = int | tuple[int, int]
POLL_S = 0.0005  # between two looks at a register that is waited for
TABLES: list[type[Registers]] = []  # every table there is, for the lint
_trace: Callable[[str], None] | None = None


def trace(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with one line for every access from now on; None ends it."""
    global _trace  # noqa: PLW0603 - one process, one trace
    _trace = hook


class Window(Protocol):
    """Where registers are reached: offsets and sizes in bytes."""

    size: int

    def read(self, offset: int, size: int) -> int:
        """Return the value at `offset`; `size` is 1, 2 or 4."""
        ...

    def write(self, offset: int, value: int, size: int) -> None:
        """Write `value` at `offset`; `size` is 1, 2 or 4."""
        ...


class Value(int):
    """What a register held, with its fields as attributes: `regs.STATUS.read().LU`."""

    row: Row

    def __new__(cls, number: int, row: Row) -> Self:
        """Make `number` a value of `row`."""
        value = super().__new__(cls, number)
        value.row = row
        return value

    def __getattr__(self, name: str) -> int:
        try:
            return self.row.get(self, name)
        except KeyError:
            raise AttributeError(f"{self.row.name} has no field {name}") from None

    def fields(self) -> dict[str, int]:
        """Return every field's value by name."""
        return {name: self.row.get(self, name) for name in self.row.fields}

    def __str__(self) -> str:
        """Return `0x80080783 FD LU SPEED=2`: the number, and the fields that are not zero."""
        words = [f"0x{int(self):0{self.row.width // 4}x}"]
        for name, value in self.fields().items():
            one_bit = isinstance(self.row.fields[name], int)
            words += [name if one_bit else f"{name}={value:#x}"] if value else []
        return " ".join(words)


class Row:
    """One line of a table. `width` is in bits; 64 means two words, the lower first. `alias` marks
    a second name of an offset. An array has `count` registers, `stride` bytes apart.
    """

    access = ""
    read_policy = "always"  # `uspnet regs` reads it always, only when it is named, or never

    def __init__(  # noqa: PLR0913 - a row of a table
        self,
        offset: int,
        title: str,
        *,
        count: int = 1,
        stride: int = 0,
        width: int = 32,
        alias: bool = False,
        **fields: Field,
    ) -> None:
        self.offset, self.title, self.fields = offset, title, fields
        self.count, self.stride, self.width, self.alias = count, stride, width, alias
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, table: Registers, owner: type) -> Register: ...
    @overload
    def __get__(self, table: object, owner: type) -> Row: ...
    def __get__(self, table: object, owner: type) -> Row | Register:
        return Register(table, self, 0) if isinstance(table, Registers) else self

    @property
    def ones(self) -> int:
        """Return what an absent device reads as: all ones."""
        return int((1 << self.width) - 1)

    def range_of(self, field: str) -> tuple[int, int]:
        """Return the lowest and highest bit of a field. Raises KeyError."""
        bits = self.fields[field]
        return (bits, bits) if isinstance(bits, int) else bits

    def mask(self, field: str) -> int:
        """Return the mask of a field's bits."""
        low, high = self.range_of(field)
        return ((1 << (high - low + 1)) - 1) << low

    def get(self, number: int, field: str) -> int:
        """Return a field's value in `number`."""
        return (int(number) & self.mask(field)) >> self.range_of(field)[0]

    def put(self, number: int, fields: dict[str, int]) -> int:
        """Return `number` with the given fields set. Raises ValueError for a value that doesn't
        fit.
        """
        number = int(number)
        for field, value in fields.items():
            mask, low = self.mask(field), self.range_of(field)[0]
            if value < 0 or value << low & ~mask:
                raise ValueError(f"{self.name}.{field} can't hold {value}")
            number = (number & ~mask) | value << low
        return number


class RW(Row):
    """Read and written."""

    access = "RW"


class RO(Row):
    """Read only."""

    access = "RO"


class WO(Row):
    """Write only: what it reads as means nothing."""

    access = "WO"
    read_policy = "never"


class RC(Row):
    """Cleared by reading, as counters and interrupt causes are."""

    access = "RC"
    read_policy = "named"


class RS(Row):
    """A semaphore: reading it when it is free takes it. Written to give it back."""

    access = "RS"
    read_policy = "never"


class Register:
    """One register of one device."""

    def __init__(self, table: Registers, row: Row, index: int) -> None:
        self.table, self.row, self.index = table, row, index
        self.offset = row.offset + index * row.stride

    def __getitem__(self, index: int) -> Register:
        if not 0 <= index < self.row.count:
            raise IndexError(f"{self.row.name} has {self.row.count} registers, not {index}")
        return Register(self.table, self.row, index)

    @property
    def name(self) -> str:
        """Return `STATUS`, or `RDT[2]` in an array."""
        return f"{self.row.name}[{self.index}]" if self.row.count > 1 else self.row.name

    def read(self) -> Value:
        """Return the current value."""
        window, size = self.table.window, self.row.width // 8
        if size == 8:
            number = window.read(self.offset, 4)
            number += window.read(self.offset + 4, 4) << 32
        else:
            number = window.read(self.offset, size)
        value = Value(number, self.row)
        self._trace("→", value)
        return value

    def write(self, value: int = 0, **fields: int) -> None:
        """Write the whole register: `value`, with `fields` put into it."""
        number = self.row.put(value, fields)
        if not 0 <= number <= self.row.ones:
            raise ValueError(f"{self.name} can't hold {number:#x}")
        window, size = self.table.window, self.row.width // 8
        self._trace("←", Value(number, self.row))
        if size == 8:
            window.write(self.offset, number & 0xFFFFFFFF, 4)
            window.write(self.offset + 4, number >> 32, 4)
        else:
            window.write(self.offset, number, size)

    def update(self, **fields: int) -> None:
        """Set `fields` and keep the rest. Raises DeviceFault."""
        self.write(self.read_checked(), **fields)

    def read_checked(self) -> Value:
        """Return the current value. Raises DeviceFault for all ones: the device is gone."""
        value = self.read()
        if value == self.row.ones:
            raise DeviceFault(
                f"{self.table.owner}: {self.name} reads as all ones: the device is gone",
                "see: uspnet devices",
            )
        return value

    def wait(self, *, timeout: float, **wanted: int) -> Value:
        """Wait until the fields have the wanted values; return the last value. `timeout` in
        seconds. Raises DeviceTimeout, DeviceFault.
        """
        start = time.monotonic()
        while True:
            waited = time.monotonic() - start
            value = self.read_checked()
            if all(self.row.get(value, field) == number for field, number in wanted.items()):
                return value
            if waited >= timeout:
                break
            time.sleep(POLL_S)
        want = " ".join(f"{field}={number}" for field, number in wanted.items())
        mask = sum(self.row.mask(field) for field in wanted)
        raise DeviceTimeout(
            f"{self.table.owner}: {self.name} ({self.row.title}): wanted {want} (mask {mask:#x}), "
            f"still {value} after {waited:.3f} s",
            "run it once more; if it stays so, the device needs a power cycle",
        )

    def _trace(self, arrow: str, value: Value) -> None:
        if _trace:
            _trace(f"{self.table.owner} {self.name} {self.offset:#07x} {arrow} {value}")


class Registers:
    """A device's registers. Subclasses are the tables; `bytes` is the size of what they lie in."""

    rows: ClassVar[dict[str, Row]] = {}
    bytes: ClassVar[int] = 0

    def __init_subclass__(cls, *, bytes: int = 0, **more: object) -> None:  # noqa: A002
        super().__init_subclass__(**more)
        own = {name: row for name, row in vars(cls).items() if isinstance(row, Row)}
        cls.rows = {**cls.rows, **own}
        cls.bytes = bytes or cls.bytes
        if cls.rows:
            TABLES.append(cls)

    def __init__(self, window: Window, owner: str) -> None:
        self.window, self.owner = window, owner

    def __iter__(self) -> Iterator[Register]:
        """Iterate over all registers, the elements of arrays too."""
        for row in self.rows.values():
            for index in range(row.count):
                yield Register(self, row, index)

    def in_window(self) -> list[Register]:
        """Return the registers inside the window: a structure may end before its table."""
        return [each for each in self if each.offset + each.row.width // 8 <= self.window.size]
