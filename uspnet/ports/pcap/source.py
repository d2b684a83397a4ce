# SPDX-License-Identifier: Apache-2.0
"""`pcap:in.pcapng` - the packets of a capture file, with their time stamps; `pcap:-` is stdin.

Ordinary files are mapped. What comes from another program (stdin, FIFOs, devices) and compressed
files come through a process of their own: see feeder.py.

Does not do: packets of other link types than Ethernet without `ethernet=add`, and those that say
no EtherType with it; IXIA's, Red Hat's and other formats than pcap and pcapng.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from typing import ClassVar

from uspnet.errors import Malformed, NoMemory, NotSupported, Usage, UspnetError
from uspnet.fastpath import c, ffi, lib
from uspnet.mapping import Mapping
from uspnet.memory import SharedMemory, new
from uspnet.packets.frames import mac_bytes
from uspnet.pool import LONGEST
from uspnet.port import Direction, Port
from uspnet.ports.pcap import compression, foreign
from uspnet.ports.pcap.feeder import Feeder
from uspnet.ports.pcap.format import file_error
from uspnet.ports.pcap.kinds import Truncated
from uspnet.ports.pcap.readers import READERS
from uspnet.spec import Options, Spec, choice, number, option, seconds, switch
from uspnet.system.privileges import NONE, Capabilities, to_end

SURVEY_BYTES = 64 << 20  # how much of a file is looked through for its longest packet
SURVEY_STEPS = 1 << 16  # records between two looks at Python's signals
NS = 1_000_000_000
FOREVER_NS = (1 << 63) - 1
WHY = {
    lib.PCAP_CUT: "the file ends inside it",
    lib.PCAP_LENGTH: "its lengths make no sense",
    lib.PCAP_ORDER: "no header describes it",
    lib.PCAP_VERSION: "of a version that is not known",
    lib.PCAP_TOO_MANY: f"more than {lib.PCAP_INTERFACES} interfaces in one section",
    lib.PCAP_ANOTHER: "another pcap file begins here",
    lib.PCAP_TORN: "a part of the stream was lost with the worker process that had read it",
}
TRUNCATED = {
    Truncated.send: lib.PCAP_SEND,
    Truncated.pad: lib.PCAP_PAD,
    Truncated.skip: lib.PCAP_SKIP,
}
EXAMPLE = "tcpdump -i IFNAME -U -w - | uspnet … pcap:-"


@dataclass(frozen=True)
class SourceOptions(Options):
    """Options of a file that is read."""

    loop: bool = option(switch, False, "on or off: begin again at the end")
    timing: bool = option(switch, False, "on: with the file's own gaps between packets")
    speed: float = option(number(1e-6, 1e6), 1.0, "replay speed factor, with timing=on")
    max_gap: float = option(seconds, float("inf"), "longest gap in seconds, with timing=on")
    truncated: str = option(
        choice(*Truncated), "send", "packets captured in part: send, pad with zeros, or skip"
    )
    ethernet: str = option(
        choice("off", "add"), "off", "add: put an Ethernet header before packets that have none"
    )
    dst: bytes = option(mac_bytes, bytes(6), "ethernet=add to this address")
    src: bytes | None = option(mac_bytes, None, "ethernet=add from this address")


class Source(Port):
    """Receives the packets of a file, as fast as they are taken or as they once came."""

    scheme = "pcap"
    unknown: ClassVar[frozenset[str]] = frozenset()
    calls = frozenset({"madvise"})
    can_send = False
    knows_origins = True
    any_link = False  # packets of other link types than Ethernet are taken as they are
    stamps = "those of the file"
    options = SourceOptions()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.path = spec.target
        self.runs_out = not self.options.loop
        if not self.path:
            raise Usage(f"{self.name}: no file", "pcap:in.pcapng reads, pcap:out=x.pcapng writes")
        self.label = "stdin" if self.path == "-" else self.path  # in messages
        self.c = new("struct pcap_source *")
        self.feeder: Feeder | None = None
        self.timer = -1
        self.undo = contextlib.ExitStack()
        self._set_up()

    def _set_up(self) -> None:
        """Set the ring's options. Raises Usage for those that need another one."""
        options, c = self.options, self.c
        c.loop = lib.PCAP_FOREVER if options.loop else lib.PCAP_ONCE
        c.timer_fd = c.stream_fd = -1
        c.when_truncated = TRUNCATED[Truncated(options.truncated)]
        c.make_ethernet, c.source_given = options.ethernet == "add", bool(options.src)
        ffi.memmove(c.macs, options.dst + (options.src or bytes(6)), 12)
        if options.timing:
            c.timing, c.clock.pace = 1, 1 / options.speed
            self.calls |= {"timerfd_settime"}
        elif not {"speed", "max-gap"}.isdisjoint(self.spec.given):
            raise Usage(f"{self.name}: without timing=on", "add timing=on")
        if not c.make_ethernet and not {"dst", "src"}.isdisjoint(self.spec.given):
            raise Usage(f"{self.name}: without ethernet=add", "add ethernet=add")
        c.clock.gap_max = min(int(min(options.max_gap, FOREVER_NS / NS) * NS), FOREVER_NS)

    @property
    def keeps(self) -> Capabilities:
        """Return what it takes to end the child that reads, which may be another user."""
        return to_end(self.feeder.user) if self.feeder else NONE

    def pass_by_pass(self, *, forever: bool) -> None:
        """Have the file's end be that of a pass: the loop asks for further ones, which `forever`
        says it always does. Called before `open`.
        """
        self.c.loop, self.runs_out = lib.PCAP_IN_TURNS, not forever

    def progress(self) -> float | None:
        """Return which share of its bytes was read in this pass; None for a stream."""
        c = self.c
        if self.feeder or not c.size:
            return None
        return 1.0 if c.q.ended else min(int(c.at) / int(c.size), 1.0)

    # -- open ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Map the file and scan its beginning, or start a process that reads it."""
        try:
            fd = self._claim()
        except OSError as error:
            raise file_error(self.label, error) from None
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise file_error(self.label, OSError(errno.EISDIR, ""))
            regular = stat.S_ISREG(status.st_mode)
            if not READERS.claim(status, alone=self.path == "-" and not regular):
                text = "stdin is read by another port already"
                raise Usage(text, "give each port a file of its own")
            self.undo.callback(READERS.release, status)
            if not regular or self._is_begun(fd):
                self._feed(fd, "")
            elif kind := compression.kind_of(self._begin(fd)):
                self._feed(fd, kind)
            else:
                self._map(fd, status.st_size)
        finally:
            os.close(fd)
        if self.c.timing:
            self._make_timer()

    def _claim(self) -> int:
        if self.path != "-":
            # A FIFO without a writer would block here.
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        if os.isatty(0):
            raise Usage("stdin is a terminal", EXAMPLE)
        return os.dup(0)

    def _is_begun(self, fd: int) -> bool:
        """Return whether stdin is a file that has been read from: the rest is ours."""
        return self.path == "-" and os.lseek(fd, 0, os.SEEK_CUR) > 0

    def _begin(self, fd: int) -> bytes:
        try:
            return os.pread(fd, compression.MAGIC_BYTES, 0)
        except OSError as error:
            raise file_error(self.label, error) from None

    def _map(self, fd: int, size: int) -> None:
        if not size:
            raise Malformed(f"{self.label} is empty", f"see: capinfos {self.path}")
        flags = lib.MEMORY_READ_ONLY | lib.MEMORY_SEQUENTIAL
        try:
            mapped = Mapping(os.dup(fd), size, flags=flags)
        except OSError as error:
            raise file_error(self.label, error) from None
        self.undo.callback(mapped.close)
        self.c.base, self.c.size = mapped.base, size
        self.c.mapped = self.c.loop == lib.PCAP_ONCE or size > lib.PCAP_KEPT
        mapped.guard(ffi.addressof(self.c.q, "fault"))
        self._survey()

    def _survey(self) -> None:
        """Check that the file can be read; find its longest packet, which sets the buffer size."""
        c = self.c
        whole = False
        while not whole and c.at < SURVEY_BYTES:
            whole = not lib.pcap_survey(c, SURVEY_STEPS)
        if error := self.fault():
            raise error
        if c.foreign and whole and not c.usable and not self.any_link:
            raise self._not_ethernet(c.link_type)
        self.frame = max(self.frame, c.longest if whole else LONGEST)
        c.at, c.number, c.foreign = c.begin, 0, 0
        c.sections = c.n_interfaces = 0

    def _feed(self, fd: int, kind: str) -> None:
        if self.c.loop:
            by_hand = f"{compression.COMMANDS[kind]} FILE > x" if kind else "cat FILE > x"
            what = "loop=on" if self.options.loop else "a second pass"
            text = f"{self.label}: {what} needs a file that can be read again"
            raise NotSupported(text, f"save it first: {by_hand}")
        window = SharedMemory("uspnet-window", lib.PCAP_WINDOW)
        self.undo.callback(window.close)
        self.feeder = Feeder(fd, self.label)
        self.undo.callback(self.feeder.close)
        self.c.base, self.c.live, self.c.stream_fd = window.base, 1, self.feeder.fd
        self.frame = LONGEST  # a stream: the longest packet is not known before

    def _make_timer(self) -> None:
        self.timer = self.c.timer_fd = lib.pcap_timer()
        if self.timer < 0:
            raise NoMemory(f"{self.label}: no timer", "see: ulimit -n")
        self.undo.callback(os.close, self.timer)

    def descriptors(self) -> list[int]:
        """Return those of the timer and of the child that reads."""
        return [self.timer, self.feeder.fd if self.feeder else -1]

    def longest_frame(self, takes: int) -> int:
        """Return the longest frame that is needed; longer ones are dropped."""
        return min(self.frame, takes)

    # -- run -------------------------------------------------------------------------------------

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Return the one queue: the position in the file."""
        queue = self.c.q
        queue.burst, queue.arm = ffi.addressof(lib, "pcap_rx"), ffi.addressof(lib, "pcap_arm")
        queue.wake_fd, queue.lossless = self.c.stream_fd if self.c.live else self.c.timer_fd, 1
        return self.c

    def control(self) -> None:
        """Raise if the file was truncated. A malformed record is reported at the end, after the
        packets before it were delivered.
        """
        if self.c.q.fault == lib.FAULT_MEMORY and (error := self.fault()):
            raise error

    def finish(self) -> None:
        """Report what was left out or changed. Raises if the file ended early."""
        c = self.c
        if c.foreign:
            packets = "packet" if c.foreign == 1 else "packets"
            self.notice(f"{self.label}: {c.foreign:,} {packets} not Ethernet left out")
        if c.timeless:
            became = "kept, as 0 where there is none" if c.sink else "replaced by that of this run"
            self.notice(
                f"{self.label}: packet {c.timeless_first:,} has no time, or one outside of 1970 to"
                f" 2554 (and {c.timeless - 1:,} more): {became}"
            )
        if c.lengths == lib.PCAP_OLDER:
            self.notice(
                f"{self.label}: lengths on the wire are unreliable in pcap before version 2.3"
            )
        if self.feeder and not c.live and (error := self.feeder.failure()):
            raise error
        if error := self.fault() or self._nothing_delivered():
            raise error

    def revive(self) -> list[int]:
        """Go on with the next record. A stream of which something is lost ends."""
        lib.pcap_revive(self.c)
        return []

    def fault(self) -> UspnetError | None:
        """Return what is wrong with the file; None if nothing."""
        c = self.c
        at = c.passed + c.at
        where = f"{self.label}: packet {c.number + 1} at byte {at}"
        if c.q.fault == lib.FAULT_MEMORY:
            return Malformed(f"{where}: the file was cut short while it was read", "copy it first")
        if c.why == lib.PCAP_WELL:
            return None
        if at == 0 and c.why in (lib.PCAP_CUT, lib.PCAP_ORDER):
            if self.feeder and not c.size:
                return Malformed(f"{self.label} is empty", EXAMPLE)
            begin = bytes(ffi.buffer(c.base, min(c.size, foreign.FILE_HEADER)))
            what, hint = foreign.what(begin)
            return Malformed(f"{self.label} {what}", hint)
        hint = "what came before it was delivered" if self.feeder else f"see: capinfos {self.path}"
        if c.why == lib.PCAP_ANOTHER:
            hint = "join pcap files with: mergecap -a -w - FILE FILE | uspnet … pcap:-"
        return Malformed(f"{where}: {WHY.get(c.why, 'malformed')}", hint)

    def _nothing_delivered(self) -> UspnetError | None:
        """Return the error for a file of which no packet could be delivered."""
        counters = [queue.counters for queue in self.made]
        loops = range(lib.DROP_FILTERED, lib.DROP_NO_ROUTE + 1)  # what a loop has decided on
        chosen = (*loops, lib.DROP_TRUNCATED)  # as asked
        lost = sum(int(c.dropped + c.errors) - sum(c.drops[i] for i in chosen) for c in counters)
        delivered = any(c.packets or any(c.drops[i] for i in loops) for c in counters)
        if not self.c.q.ended or not lost or delivered:
            return None
        if self.c.foreign:
            return self._not_ethernet(self.c.link_type)
        text = f"{self.label}: none of {lost:,} packets could be delivered"
        return NotSupported(text, "their lengths are not what the other port takes: see the drops")

    def _not_ethernet(self, link_type: int) -> UspnetError:
        text = f"{self.label}: link type {link_type} is not Ethernet"
        if name := foreign.LINKS.get(link_type):
            text += f" but {name}"
        if self.c.make_ethernet:
            return NotSupported(text, "no packet of it says an EtherType that could be used")
        if lib.pcap_can_make(link_type):
            return NotSupported(text, f"put Ethernet headers in front: {self.name},ethernet=add")
        return NotSupported(text, "only Ethernet packets (link type 1) can be used")

    def close(self) -> None:
        """Unmap the file."""
        self.undo.close()
