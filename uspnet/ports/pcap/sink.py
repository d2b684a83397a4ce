# SPDX-License-Identifier: Apache-2.0
"""`pcap:out=x.pcapng` - a capture file as a sink. See writer.py for who writes it, and why."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, cast

from uspnet.errors import (
    DeviceFault,
    DeviceTimeout,
    NoDevice,
    NotSupported,
    Refused,
    Usage,
    UspnetError,
)
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.memory import new, octets
from uspnet.pool import LONGEST
from uspnet.port import Direction, Port
from uspnet.ports.pcap import format as pcapfile
from uspnet.ports.pcap.beginning import begin, check_room
from uspnet.ports.pcap.format import file_error
from uspnet.ports.pcap.kinds import Format, Slice
from uspnet.ports.pcap.making import Making, done, interfaces
from uspnet.ports.pcap.options import FORMATS, SinkOptions
from uspnet.ports.pcap.packing import PACKERS, Packer, packer
from uspnet.ports.pcap.parts import Part
from uspnet.ports.pcap.readers import READERS, written_alone
from uspnet.ports.pcap.source import Source
from uspnet.ports.pcap.statistics import Cut, Statistics
from uspnet.ports.pcap.ways import part_of, told
from uspnet.ports.pcap.writer import Writer
from uspnet.spec import Spec
from uspnet.system import kept, streams
from uspnet.system.outfile import OutFile
from uspnet.system.privileges import NONE, Capabilities, to_end

LATEST = "2106-02-07"  # the last day that a pcap file can hold
READER_WAIT_S = 5.0  # for a FIFO's reader to appear, and for one that stopped reading
INTERRUPTED_S = 1.0  # for one that stopped reading, after Ctrl-C
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
GROUP_MODE = 0o640  # of a new file that its group may read
BURSTS = {Slice.none: "pcap_tx", Slice.l4: "pcap_tx_sliced"}
DISK_WAIT_S = 30.0  # for a disk on which writing stalled


class Sink(Port):
    """Writes what it is sent. Set `source` before `open` when all packets come from one port, and
    `sources` when every packet of some ports comes here: their queues' packets, one after another.
    """

    scheme = "pcap"
    unknown: ClassVar[frozenset[str]] = frozenset()
    calls = frozenset({"write"})  # wakes the writer
    can_receive = False
    takes = LONGEST
    options = SinkOptions()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if spec.target or not self.options.out:
            raise Usage(
                f"{self.name}: give either a file to read or out=",
                "pcap:in.pcapng, or pcap:out=x.pcapng",
            )
        self.path = self.options.out
        self.takes_stdout = self.path == "-"
        self.source: Port | None = None
        self.sources: Sequence[Port] = ()
        self.making = Making()
        self.part = Part()
        self.comments: Sequence[str] = ()
        self.writer: Writer | None = None
        self.file: OutFile | None = None
        self.fd, self.regular = -1, False
        self.undo = contextlib.ExitStack()
        self.goes_on = False  # the version before has written the file, and completed it
        self.statistics = Statistics((), self.made)
        self.complete = True  # nothing is owed to the file
        self.pack: Callable[[], Packer] | None = None
        self.described = b""  # the interfaces, as blocks
        self.owned = Owned()

    def target_names(self) -> list[str]:
        """Return the files, as the user would name them."""
        return [self.path]

    @property
    def keeps(self) -> Capabilities:
        """Return what it takes to end the writer, which may be another user."""
        return to_end(self.writer.user) if self.writer else NONE

    def fed_by(self, source: Port) -> None:
        """Remember the source, if it is a file: what it records about packets is copied."""
        if isinstance(source, Source):
            self.source = source

    def feeders(self) -> Sequence[Port]:
        """Return the ports whose packets come here, as far as they are known."""
        return self.sources or ([self.source] if self.source else [])

    def interface_of(self, queue: int) -> int:
        """Return the number of the interface whose packets a queue gets."""
        ends = itertools.accumulate(port.queues for port in self.feeders())
        return next((number for number, end in enumerate(ends) if queue < end), 0)

    def carries(self) -> bool:
        """Return whether the source's description of its packets is copied, or may be once its
        format is known.
        """
        return (
            isinstance(self.source, Source)
            and self.options.format == "pcapng"
            and self.source.c.format in (lib.PCAP_NG, lib.PCAP_UNKNOWN)
        )

    def open(self) -> None:
        """Open the file, which keeps its contents until `start`, and start the writer."""
        try:
            self.fd = self._claim()
        except UspnetError:  # some are OSErrors, too
            raise
        except OSError as error:
            raise file_error(self.path, error) from None
        self.undo.enter_context(written_alone(self.path, self.fd))
        self.regular = self.fills_disk = stat.S_ISREG(os.fstat(self.fd).st_mode)
        if feeders := self.feeders():
            self.queues = sum(port.queues for port in feeders)
        if self.queues > lib.PCAP_RINGS:
            raise NotSupported(f"{self.path}: {self.queues} queues", f"at most {lib.PCAP_RINGS}")
        form = FORMATS[Format(self.options.format)]
        if self.options.group_read and self.file and self.file.created:
            os.fchmod(self.fd, GROUP_MODE)
        self.pack = packer(self.options.compress)
        self.part = part_of(self, self.pack)
        self.writer = Writer(self.fd, self.queues, self.options.buffer << 20, form, self.part)

    def held(self) -> dict[str, int]:
        """Return the file: what the next version writes comes behind what is there, which is whole.
        A pcapng file gets another section. Raises NotSupported where blocks are copied.
        """
        return super().held() if self.carries() else {f"{self.kept_as} file": self.fd}

    def _claim(self) -> int:
        if (fd := kept.take(f"{self.kept_as} file")) >= 0:
            self.goes_on = True
            return fd
        if self.takes_stdout:
            if os.isatty(1):
                raise Usage("stdout is a terminal", "pipe it on: uspnet … | tshark -r -")
            if 1 in streams.CLOSED:
                raise Usage("stdout is closed", "pipe it on: uspnet … | tshark -r -")
            return os.dup(1)
        self.file = OutFile(self.path)
        end = time.monotonic() + READER_WAIT_S
        while (fd := self.file.open()) < 0:
            if time.monotonic() > end:
                raise NoDevice(f"{self.path}: nobody reads this FIFO", "start its reader first")
            time.sleep(0.02)
        os.set_blocking(fd, True)
        return fd

    def make_queue(self, direction: Direction, index: int) -> c.PcapSink:
        """Make one ring of chunks."""
        writer = cast("Writer", self.writer)  # since open
        c = new("struct pcap_sink *")
        c.shared, c.ring, c.bell_fd = writer.shared, writer.rings[index], writer.bell
        c.interface = self.interface_of(index)
        c.snaplen = self.making.snaplen(c.interface, self.options.snaplen)
        c.q.burst = ffi.addressof(lib, BURSTS[Slice(self.options.slice)])
        if not self.regular:  # a reader at a pipe sees each packet at once
            c.q.flush = ffi.addressof(lib, "pcap_flush")
        c.q.wake_fd = -1
        return c

    def descriptors(self) -> list[int]:
        """Return what wakes the writer."""
        return [self.writer.bell] if self.writer else []

    def start(self) -> None:
        """Truncate the file and write its header, or go to its end. Raises Refused if this process
        reads it.
        """
        if os.fstat(self.fd) in READERS:
            raise Refused(f"{self.path} is being read: it would be lost", "write to another file")
        self.statistics.sources = self.sources
        self.described = interfaces(self.feeders(), told(self), self.options)
        self.statistics.start()
        head = self._header()
        if self.carries():
            check_room(self.path, head)
            self._carry(cast("Source", self.source), head)
            head = b""  # the ring writes one
        begin(self, head)
        self.complete = False

    def _rings(self) -> list[c.PcapSink]:
        """Return the C structs of the queues."""
        return [ffi.cast("struct pcap_sink *", queue.c) for queue in self.made]

    def _header(self) -> bytes:
        options = self.options
        return pcapfile.header(options.format, options.snaplen, self.described, self.comments)

    def _carry(self, source: Source, head: bytes) -> None:
        """Have the source hand over its descriptions of interfaces and packets."""
        sink = self._rings()[0]
        application = pcapfile.application([*self.comments, *done(told(self), self.options)])
        keep = self.owned.keep
        sink.header, sink.header_bytes = keep(octets(head)), len(head)
        sink.application, sink.application_bytes = keep(octets(application)), len(application)
        source.c.sink = sink

    def control_fds(self) -> list[int]:
        """Return the writer's descriptor: it is readable when the writer has ended."""
        return [self.writer.pidfd] if self.writer and not self.complete else []

    def control(self) -> None:
        """End the job when nothing more can be written."""
        if not self.writer or self.complete:
            return
        if self._tells() and self.statistics.is_due():
            self.writer.note(self.statistics.note())
        if not self.writer.gone(0):
            return
        if self.writer.shared.error == errno.EPIPE:
            self.end_job()
            return
        with self.quiesce():
            self.end_job()  # first: what a worker put into the ring after `finish` would be lost
            self.finish()

    def _tells(self) -> bool:
        """Return whether statistics of our own may stand between the packets."""
        return self.options.format == "pcapng" and not self.carries()

    def revive(self) -> list[int]:
        """Go on behind the last record that was published; what came after it is not in the file.
        Raises DeviceFault if the records' memory is damaged.
        """
        if any(lib.pcap_sink_revive(ring) for ring in self._rings()):
            text = f"{self._held()}: the memory before it was damaged with the worker process"
            raise DeviceFault(text, "start the job again, with another file")
        return []

    def finish(self) -> None:
        """Complete the file. From then on, the tx counters tell what is in it."""
        if self.complete or not self.writer:
            return
        self.complete = True
        if not self.writer.gone(0):
            self._let_go(self.writer)
            self._wait(self.writer)
        self._forget(self.writer)
        self._tell()
        if failure := self.writer.failure(self._held()):
            raise failure

    def _let_go(self, writer: Writer) -> None:
        """Have the writer complete the file."""
        writer.let_go(self._tail())

    def _gone(self, writer: Writer) -> bool:
        """Wait for the writer's end for a moment, and return whether it has come."""
        return writer.gone(0.1)

    def _forget(self, writer: Writer) -> None:
        """Count as dropped what the writer, now gone, has not written."""
        full = writer.shared.error in DISK_FULL
        for queue in self.made:
            packets, octets = writer.forget(queue.index)
            queue.take_back(packets, octets, lib.DROP_NO_ROOM if full else lib.DROP_PEER_LEFT)

    def _tell(self) -> None:
        """Report what the file could not take, and a name that no longer fits."""
        suffix = os.path.splitext(self.path)[1].lower()
        if (command := PACKERS.get(suffix)) and not self.pack:
            self.notice(f"{self.path} is not compressed. To have it so: -w - | {command} > FILE")
        if self.file and self.regular and not self.file.is_named(self.fd):
            self.notice(f"{self.path}: somebody has moved, replaced or removed the file meanwhile")
        if late := sum(int(sink.misfits) for sink in self._rings()):
            self.notice(
                f"{self.path}: {late:,} packets are later than a pcap file can say ({LATEST})"
            )
        if left := sum(int(sink.left_out) for sink in self._rings()):
            self.notice(f"{self.path}: {left:,} blocks or options were too long, and left out")

    def _held(self) -> str:
        held = sum(int(queue.counters.packets) for queue in self.made)
        return f"{'stdout' if self.takes_stdout else self.path} (holds {held:,} packets)"

    def _tail(self, cut: Cut | None = None) -> bytes:
        if self.options.format != "pcapng":
            return b""
        if self.carries() and self.writer and not (ring := self._rings()[0]).begun:
            self.writer.note(self._header())  # the source has ended without one
            ring.begun = 1
        if self.carries() and cast("Source", self.source).c.format == lib.PCAP_NG:
            return b""  # its own statistics went on
        end = self.statistics.blocks(cut)
        return end if len(end) <= lib.PCAP_TAIL else b""

    def _wait(self, writer: Writer) -> None:
        """Wait for the writer while it makes progress."""
        last, since = -1, (began := time.monotonic())
        patience = INTERRUPTED_S if self.is_interrupted() else READER_WAIT_S
        while not self._gone(writer):
            self.on_wait(time.monotonic() - began)
            if (now := writer.progress()) != last:
                last, since = now, time.monotonic()
            elif self.regular and time.monotonic() - since > DISK_WAIT_S:
                text = f"{self.path}: writing to the disk stalled"
                text += f"; process {writer.pid} is still trying"
                raise DeviceTimeout(text, f"wait, or end it: kill -9 {writer.pid}")
            elif not self.regular:
                writer.nudge()  # a slow reader is still taking the same piece
                if time.monotonic() - since > patience:
                    writer.kill()

    def stop(self) -> None:
        """Complete the file after an error, too."""
        with contextlib.suppress(UspnetError):
            self.finish()
        if self.complete and self.writer and self.writer.gone(0):
            self._forget(self.writer)  # loops may have gone on after the writer's end

    def close(self) -> None:
        """Close the file; remove one that was created and never started."""
        if self.writer:
            self.writer.close()
            self.writer = None
        if self.file:
            if self.file.created and self.fd >= 0:
                self.file.remove(self.fd)
            self.file.close()
            self.file = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.undo.close()
