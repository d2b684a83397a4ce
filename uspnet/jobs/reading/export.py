# SPDX-License-Identifier: Apache-2.0
"""read --export: the packets' headers as a table, in the Parquet format (extra uspnet[query]).

C fills columns as Apache Arrow has them; pyarrow writes what it gets, a million rows a group.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from uspnet.answer import Answer
from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import c, ffi
from uspnet.ports.pcap.format import file_error
from uspnet.system.outfile import OutFile

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.parquet import ParquetWriter

    from uspnet.ports.pcap.looking import Look

GROUP = 1 << 20  # rows
CLEARED = ffi.offsetof("struct pcap_columns", "ns")  # bytes: the count, and the bitmaps
# Columns: what C has, their Arrow type, and the bitmap of where there is something.
COLUMNS = {
    "number": ("number", "uint64", None),
    "ts_ns": ("ns", "int64", "timed"),
    "interface": ("interface", "uint32", None),
    "len": ("length", "uint32", None),
    "cap_len": ("captured", "uint32", None),
    "eth_type": ("ether_type", "uint16", "typed"),
    "vlan": ("vlan", "uint16", "tagged"),
    "ip_version": ("version", "uint8", "is_ip"),
    "src": ("source", "address", "is_ip"),
    "dst": ("destination", "address", "is_ip"),
    "proto": ("protocol", "uint8", "is_ip"),
    "sport": ("source_port", "uint16", "has_ports"),
    "dport": ("destination_port", "uint16", "has_ports"),
    "tcp_flags": ("tcp_flags", "uint8", "has_flags"),
    "offset": ("offset", "uint64", None),
}


@dataclass(frozen=True, kw_only=True)
class ExportAnswer(Answer):
    """What `read --export` has written."""

    written: str
    """The table's file."""
    packets: int
    """Its rows, one for each packet that the filter accepts."""
    files: tuple[str, ...]
    """The captures, which the column `file` names."""


def _pyarrow() -> ModuleType:
    """Return the library. Raises NotSupported."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        text = "--export needs pyarrow, which is not installed"
        raise NotSupported(text, "pip install 'uspnet[query]'") from None
    found: ModuleType = pa
    return found


class Export:
    """A table that is being written. Raises NotSupported, Usage, and what file_error returns."""

    def __init__(self, path: str, files: Sequence[str]) -> None:
        if path == "-" or not path.endswith(".parquet"):
            raise Usage(f"--export {path}: not a parquet file", "name one: --export x.parquet")
        self.arrow = _pyarrow()
        self.path, self.packets = path, 0
        self.files: list[str] = []
        self.columns: c.PcapColumns = ffi.new("struct pcap_columns *")
        self.waiting: list[Table] = []
        kinds = {name: self._kind(kind) for name, (_, kind, _) in COLUMNS.items()}
        names = self.arrow.dictionary(self.arrow.int32(), self.arrow.string())
        self.schema = self.arrow.schema([*kinds.items(), ("file", names)])
        try:
            self.file = OutFile(path)
            self.fd = self.file.open()
        except OSError as error:
            if isinstance(error, (Usage, NotSupported)) or not error.errno:
                raise
            raise file_error(path, error) from None
        self._check(files)
        self.raw = os.fdopen(self.fd, "wb", buffering=0)
        self.out = io.BufferedWriter(self.raw)
        self.writer: ParquetWriter | None = None
        self.broken = False

    def _check(self, files: Sequence[str]) -> None:
        """Raise Usage where what is to be written is no file, or one that is read."""
        status = os.fstat(self.fd) if self.fd >= 0 else None
        if not status or not stat.S_ISREG(status.st_mode):
            raise Usage(f"--export: {self.path} is not a file", "name one: --export x.parquet")
        for each in files:
            if os.path.exists(each) and os.path.samestat(os.stat(each), status):
                raise Usage(f"--export: {self.path} is read, too", "name another file")

    def _kind(self, name: str) -> object:
        return self.arrow.binary(16) if name == "address" else getattr(self.arrow, name)()

    def add(self, look: Look) -> None:
        """Add the packets of a file. Raises as `Look.run` does."""
        if self.broken:
            return
        label = look.label.encode(errors="surrogateescape").decode(errors="replace")
        self.files.append(label)
        look.c.columns, look.on_room = self.columns, self._take
        try:
            look.run()
        finally:
            self._take()

    def _take(self) -> None:
        """Take what C has, and write whole groups."""
        rows = int(self.columns.n)
        arrays = [self._array(*column, rows) for column in COLUMNS.values()]
        index = self.arrow.array([0] * rows, self.arrow.int32())
        names = self.arrow.DictionaryArray.from_arrays(index, [self.files[-1]])
        self.waiting.append(self.arrow.Table.from_arrays([*arrays, names], schema=self.schema))
        self.packets += rows
        ffi.memmove(self.columns, bytes(CLEARED), CLEARED)
        if sum(table.num_rows for table in self.waiting) >= GROUP:
            self._write()

    def _array(self, name: str, kind: str, where: str | None, rows: int) -> object:
        column = getattr(self.columns, name)
        width = 16 if kind == "address" else ffi.sizeof(ffi.typeof(column).item)
        data = self.arrow.py_buffer(bytes(ffi.buffer(column, rows * width)))
        bits = None
        if where:
            bitmap = ffi.buffer(getattr(self.columns, where), (rows + 7) // 8)
            bits = self.arrow.py_buffer(bytes(bitmap))
        return self.arrow.Array.from_buffers(self._kind(kind), rows, [bits, data])

    def _begin(self) -> ParquetWriter:
        """Begin the table, in place of what was in the file."""
        os.ftruncate(self.fd, 0)
        return self.arrow.parquet.ParquetWriter(self.out, self.schema, compression="zstd")

    def _write(self, *, last: bool = False) -> None:
        """Write the rows that wait. Raises what file_error returns; then there is no table."""
        try:
            self.writer = self.writer or self._begin()
            if self.waiting:
                table = self.arrow.concat_tables(self.waiting).unify_dictionaries()
                self.waiting.clear()
                self.writer.write_table(table, row_group_size=GROUP)
            if last:
                self.writer.close()
                self.out.flush()
        except OSError as error:
            self._give_up()
            raise file_error(self.path, error) from None

    def _give_up(self) -> None:
        """Leave no half of a table: one without its end can't be read."""
        self.broken = True
        if self.writer:
            self.writer.is_open = False  # it would write its end when it is collected
        os.ftruncate(self.fd, 0)
        if self.file.created:
            self.file.remove(self.fd)
        self.raw.close()  # what is still in the buffer is not written

    def close(self, *, failed: bool = False) -> None:
        """Complete the file. One that `failed` before any packet is as it was, or removed if it was
        made here. Raises as `_write` does.
        """
        try:
            if self.broken:
                return
            if failed and not self.packets:
                if self.file.created:
                    self.file.remove(self.fd)
                return
            self._write(last=True)
        finally:
            with contextlib.suppress(OSError):
                self.out.close()
            self.file.close()

    def answer(self) -> ExportAnswer:
        """Return what was written."""
        return ExportAnswer(
            command="read", written=self.path, packets=self.packets, files=tuple(self.files)
        )
