# SPDX-License-Identifier: Apache-2.0
"""`pcap:in.pcapng` - the packets of a capture file, with their time stamps.

Does not do: packets of other link types than Ethernet, the length on the wire of packets that
were captured cut short, the modified pcap format of old Red Hat systems, compressed files.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from typing import Any, ClassVar

from uspnet.errors import Malformed, NotSupported, Usage, UspnetError
from uspnet.fastpath import ffi, lib
from uspnet.pcapfile import file_error
from uspnet.pool import FRAME_MAX
from uspnet.port import Direction, Driver
from uspnet.spec import Option, Spec, switch

SURVEY_BYTES = 256 << 20  # how much of a file is looked through for its longest packet
SURVEY_STEPS = 1 << 16  # records between two looks at Python's signals
WHY = {
    lib.PCAP_CUT: "the file ends inside it",
    lib.PCAP_LENGTH: "its lengths make no sense",
    lib.PCAP_ORDER: "no header describes it",
    lib.PCAP_VERSION: "of a version that is not known",
    lib.PCAP_TOO_MANY: f"more than {lib.PCAP_INTERFACES} interfaces in one section",
}
FOREIGN = {
    b"\x1f\x8b": "it is compressed: gunzip it first",
    b"\x28\xb5": "it is compressed: unzstd it first",
    b"\x34\xcd\xb2\xa1": "the modified format: editcap -F pcapng OLD NEW",
    b"\xa1\xb2\xcd\x34": "the modified format: editcap -F pcapng OLD NEW",
}


class Source(Driver):
    """Receives the packets of a file, as fast as they are taken, with their time stamps."""

    scheme = "pcap"
    unknown: ClassVar[frozenset[str]] = frozenset()
    can_send = False
    reading: ClassVar[set[tuple[int, int]]] = set()  # device and inode of what this process reads
    options: ClassVar[dict[str, Option]] = {
        "loop": Option(switch, False, "on or off: begin again at the end"),
    }

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.path = spec.target
        if not self.path:
            raise Usage(f"{self.name}: no file", "pcap:in.pcapng reads, pcap:out=x.pcapng writes")
        self.c = ffi.new("struct pcap_source *")
        self.undo = contextlib.ExitStack()

    def open(self) -> None:
        """Maps the file, and looks through its beginning."""
        try:
            # A FIFO without a writer would block here.
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise file_error(self.path, error) from None
        try:
            self._map(fd)
        finally:
            os.close(fd)
        self._survey()

    def _map(self, fd: int) -> None:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise file_error(self.path, OSError(errno.EISDIR, ""))
        if not stat.S_ISREG(status.st_mode):
            raise NotSupported(f"{self.path} is not a regular file", "save it to a file first")
        if not status.st_size:
            raise Malformed(f"{self.path} is empty", f"see: capinfos {self.path}")
        try:
            mapped = mmap.mmap(fd, status.st_size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise file_error(self.path, error) from None
        self.undo.callback(mapped.close)
        mapped.madvise(mmap.MADV_SEQUENTIAL)
        memory = ffi.from_buffer("uint8_t[]", mapped)
        self.undo.callback(ffi.release, memory)
        self.c.base, self.c.size = ffi.cast("uint8_t *", memory), status.st_size
        lib.guard_install()
        lib.guard_add(self.c.base, self.c.size, ffi.addressof(self.c.q, "fault"))
        self.undo.callback(lib.guard_remove, self.c.base)
        inode = (status.st_dev, status.st_ino)
        self.reading.add(inode)
        self.undo.callback(self.reading.discard, inode)

    def _survey(self) -> None:
        """Refuses what can't be read at all; learns the longest packet, so that it fits."""
        self.c.why = lib.pcap_open(self.c)
        whole = bool(self.c.why)
        while not whole and self.c.at < SURVEY_BYTES:
            whole = not lib.pcap_survey(self.c, SURVEY_STEPS)
        if error := self.fault():
            raise error
        self.c.at, self.c.number = self.c.begin, 0
        self.frame = max(self.frame, min(self.c.longest, FRAME_MAX) if whole else FRAME_MAX)

    def make_queue(self, direction: Direction, index: int) -> Any:
        """The one queue: where we are in the file."""
        self.c.loop = self.values["loop"]
        queue = self.c.q
        queue.burst = ffi.addressof(lib, "pcap_rx")
        queue.wake_fd, queue.patient = -1, 1
        return self.c

    def control(self) -> None:
        """A malformed record is told at the end, after what came before it was delivered."""
        if self.c.q.fault == lib.FAULT_MEMORY and (error := self.fault()):
            raise error

    def finish(self) -> None:
        """Tells why the file ended too early."""
        if error := self.fault():
            raise error

    def fault(self) -> UspnetError | None:
        """What is wrong with the file."""
        c = self.c
        where = f"{self.path}: packet {c.number + 1} at byte {c.at}"
        hint = f"see: capinfos {self.path}"
        if c.q.fault == lib.FAULT_MEMORY:
            return Malformed(f"{where}: the file was cut short while it was read", "copy it first")
        if c.why == lib.PCAP_WELL:
            return None
        if c.why == lib.PCAP_LINK:
            return NotSupported(
                f"{self.path}: link type {c.link_type} is not Ethernet",
                "only Ethernet packets (link type 1) can be used",
            )
        if c.at == 0:
            begin = bytes(ffi.buffer(c.base, min(c.size, 4)))
            hint = FOREIGN.get(begin, FOREIGN.get(begin[:2], hint))
            return Malformed(f"{self.path} is not a pcap or pcapng file", hint)
        return Malformed(f"{where}: {WHY[c.why]}", hint)

    def close(self) -> None:
        """Unmaps the file."""
        self.undo.close()
