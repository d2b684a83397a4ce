# SPDX-License-Identifier: Apache-2.0
"""Capture files that end, or are followed by others, before the capture is over, as dumpcap's.

The process that writes can open no file (see parts.py). This one opens each of them without a name,
ahead of time; when it is to be written, it gets its header and then its name, which no other file
has. So every file that has a name is one that can be read, whatever is killed, and when.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

from uspnet.errors import NotSupported, Refused, Usage, UspnetError
from uspnet.ports.pcap.format import file_error
from uspnet.ports.pcap.packing import PACKERS, packed
from uspnet.ports.pcap.parts import (
    COUNTS,
    DONE,
    END,
    FULL,
    LAST,
    MOST,
    NEXT,
    OVER,
    PLACE,
    STAY,
    TAIL,
    TURN,
    WORD,
)
from uspnet.ports.pcap.rotation import Named, Rotation
from uspnet.ports.pcap.sink import GROUP_MODE, Sink
from uspnet.ports.pcap.statistics import Cut
from uspnet.ports.pcap.writer import Writer
from uspnet.spec import Spec
from uspnet.system.outfile import MODE, OutFile
from uspnet.system.privileges import Capabilities, Capability

NUMBERS = 100_000  # in names, as dumpcap counts


class Ring(Sink):
    """Writes several files one after another, or one up to a limit, as `rotate` says. `deleted`:
    files that were deleted again, and `deleted_packets` their packets.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.rotation = Rotation()
        self.folder: OutFile | None = None
        self.ahead = -1  # the next file, without a name
        self.files: list[Named] = []
        self.begun = self.deleted = self.deleted_packets = 0
        self.turned, self.turning = 0.0, False
        self.error: UspnetError | None = None
        self.over = False  # no file follows
        self.untold = False  # the name of a file could not be told
        self.statistics.beyond, self.statistics.places = self._beyond, self._places

    def rotate(self, rotation: Rotation) -> None:
        """Set when files end, before `open`."""
        self.rotation = rotation
        self.runs_out = bool(rotation.stop) or not rotation.turns

    def open(self) -> None:
        """Open the first file, and start the writer."""
        super().open()
        self.fills_disk = self.fills_disk and not self.runs_out and not self.rotation.keep

    def held(self) -> dict[str, int]:
        """Raise NotSupported: another version could not go on with these files."""
        text = f"{self.name}: can't go on in the middle of a file"
        raise NotSupported(text, "wait until the job has ended, and start the new version")

    @property
    def keeps(self) -> Capabilities:
        """Return also what it takes to create files in another user's folder."""
        ours = not self.folder or os.fstat(self.folder.folder).st_uid == os.geteuid()
        return super().keeps | (frozenset() if ours else {Capability.DAC_OVERRIDE})

    def carries(self) -> bool:
        """Return False: every file has a header of our own."""
        return not self.rotation.turns and super().carries()

    def target_names(self) -> list[str]:
        """Return the files, as the user would name them."""
        if not self.rotation.turns:
            return super().target_names()
        return [os.path.join(os.path.dirname(self.path), each.name) for each in self.files]

    def _claim(self) -> int:
        how = self.rotation
        eager = not how.turns or bool(how.stop)
        self.part = replace(
            self.part, asks=True, octets=how.octets, packets=how.packets, eager=eager
        )
        if not how.turns:
            return super()._claim()
        if self.takes_stdout:
            raise Usage("-b writes several files", "name them: -w x.pcapng")
        if not os.path.basename(self.path):
            raise Usage(f"{self.path} is a folder", "name files in it: x.pcapng")
        self.folder = OutFile(os.path.join(os.path.dirname(self.path) or ".", "."))
        self._prepare()
        if how.tell:
            how.tell.open()
        return os.dup(self.ahead)

    def start(self) -> None:
        """Begin the first file."""
        super().start()  # with its header
        self.turned, self.turning = time.monotonic(), False
        self._name()

    # -- files -----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Open the next file without a name."""
        folder = self.folder.folder if self.folder else -1
        flags = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
        self.ahead = os.open(".", flags, MODE, dir_fd=folder)
        if self.options.group_read:
            os.fchmod(self.ahead, GROUP_MODE)

    def _name(self) -> None:
        """Name the file that was prepared. Raises Refused, OSError."""
        if not self.folder:
            return
        stem, suffix = os.path.splitext(os.path.basename(self.path))
        if suffix.lower() in PACKERS:
            stem, before = os.path.splitext(stem)
            suffix = before + suffix
        number, at = f"{(self.begun + 1) % NUMBERS:05}", time.strftime("%Y%m%d%H%M%S")
        parts = (at, number) if self.rotation.time_first else (number, at)
        name = f"{stem}_{'_'.join(parts)}{suffix}"
        status, link = os.fstat(self.ahead), f"/proc/self/fd/{self.ahead}"
        try:
            os.link(link, name, dst_dir_fd=self.folder.folder, follow_symlinks=True)
        except FileExistsError:
            raise Refused(f"{name} exists", "move it away, or choose another name") from None
        self.files.append(Named(name, (status.st_dev, status.st_ino)))
        self.begun += 1
        os.close(self.ahead)
        self.ahead = -1

    def _next(self, line: socket.socket, ends: Sequence[tuple[int, int]]) -> None:
        """Answer the writer, whose file is full: of each queue, up to a position, which is behind
        so many packets since the start.
        """
        how = self.rotation
        if not how.turns or (how.stop and self.begun >= how.stop):
            line.send(OVER)
            self.over = True
            self.end_job()
            return
        try:
            if self.ahead < 0:
                self._prepare()
            cut = self._cut(ends)
            tail = self._tail(cut)
            begun = self.statistics.blocks(cut) if self._tells() else b""  # with the same counts
            head = packed(self.pack, self._header() + begun)
            while head:
                head = head[os.write(self.ahead, head) :]
            with contextlib.ExitStack() as undo:
                given = os.dup(self.ahead)
                undo.callback(os.close, given)
                self._name()
                self.turned, self.turning = time.monotonic(), False
                socket.send_fds(line, [NEXT + tail], [given])
        except UspnetError as error:
            self._stay(line, error)
        except OSError as error:
            self._stay(line, file_error(self.path, error))

    def _cut(self, ends: Sequence[tuple[int, int]]) -> Cut:
        """Return what was counted when a file ended, and the packets of each interface."""
        written = [0] * max(len(self.feeders()), 1)
        for queue, (_, packets) in enumerate(ends):
            written[self.interface_of(queue)] += packets
        return Cut(self.statistics.at([position for position, _ in ends]), written)

    def _places(self) -> list[tuple[int, int]]:
        """Return up to where each queue has records now, and its interface."""
        rings = self.writer.rings[0 : self.queues] if self.writer else ()
        return [
            (int(ring.positions.published), self.interface_of(queue))
            for queue, ring in enumerate(rings)
        ]

    def _stay(self, line: socket.socket, error: UspnetError) -> None:
        """Have the rest go into the file that there is, and the job end with the error."""
        self.error = error
        line.send(STAY)

    def _completed(self, packets: int) -> None:
        """Tell of the file that is complete, delete the oldest, and prepare the next."""
        if not self.folder:
            return
        done = next(each for each in self.files if not each.complete)
        done.packets, done.complete = packets, True
        if self.fd >= 0:
            os.close(self.fd)  # of the first file
            self.fd = -1
        self._name_told(done.name)
        while self.rotation.keep and len(self.files) > self.rotation.keep:
            self._delete(self.files.pop(0))
        if self.ahead < 0 and not self.complete:
            with contextlib.suppress(OSError):  # it is tried again when it is needed
                self._prepare()

    def _name_told(self, name: str) -> None:
        """Have the name of a complete file told. The capture goes on where that can't be."""
        try:
            if self.rotation.tell:
                self.rotation.tell(os.path.join(os.path.dirname(self.path), name))
        except OSError as error:
            if not self.untold:
                self.notice(f"{name}: its name was not told: {error.strerror}")
            self.untold = True

    def _delete(self, file: Named) -> None:
        folder = self.folder.folder if self.folder else -1
        self.deleted, self.deleted_packets = self.deleted + 1, self.deleted_packets + file.packets
        with contextlib.suppress(OSError):
            status = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
            if (status.st_dev, status.st_ino) == file.inode:
                os.unlink(file.name, dir_fd=folder)

    # -- the writer ------------------------------------------------------------------------------

    def control_fds(self) -> list[int]:
        """Return also the line on which the writer asks."""
        line = self.writer.line if self.writer and not self.complete else None
        return [*super().control_fds(), *([line.fileno()] if line else [])]

    def control(self) -> None:
        """Answer the writer, and look at the time. Raises what went wrong with a file."""
        if self.writer and not self.complete and self.writer.line:
            if self._tells():
                rings = self.writer.rings[0 : self.queues]
                self.statistics.keep([int(ring.positions.written) for ring in rings])
            self._answer(self.writer.line)
            self._look(self.writer.line)
            if self.error:
                raise self.error
        super().control()

    def _look(self, line: socket.socket) -> None:
        """Have a file end for which the time has come."""
        how, passed = self.rotation, time.monotonic() - self.turned
        due = bool(how.duration) and passed >= how.duration
        if how.interval:
            now = time.time()
            due = due or now // how.interval > (now - passed) // how.interval
        if due and not self.turning and not self.error:
            self.turning = True
            with contextlib.suppress(OSError):  # the writer is gone: told elsewhere
                line.send(TURN)

    def _answer(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):  # nothing more is said, or the writer is gone
            while said := line.recv(MOST, socket.MSG_DONTWAIT):
                if said[:WORD] == FULL:
                    self._next(line, list(PLACE.iter_unpack(said[WORD:])))
                elif said[:WORD] == DONE:
                    self._completed(COUNTS.unpack(said[WORD:])[0])
                elif said == LAST:  # what comes after the last file is counted now
                    tail = b""
                    try:
                        tail = self._tail()
                    finally:  # the writer waits for it, whatever goes wrong here
                        line.send(TAIL + tail)

    def finish(self) -> None:
        """Complete the last file. Raises what went wrong with one."""
        began = self.complete
        super().finish()
        if self.error and not began:
            raise self.error

    def _let_go(self, writer: Writer) -> None:
        """Have the writer complete the file. It asks for the end, when all is written."""
        if writer.line:
            with contextlib.suppress(OSError):
                writer.line.send(END)

    def _beyond(self, queue: int) -> int:
        """Return a queue's packets that came after the last file, and are still in counters."""
        return int(self.writer.shared.positions[queue].beyond) if self.writer else 0

    def _gone(self, writer: Writer) -> bool:
        poll = select.poll()
        for fd in (writer.pidfd, writer.line):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        poll.poll(100)
        gone = writer.gone(0)  # before what it has said is read: it says its last then
        if writer.line:
            self._answer(writer.line)
        return gone

    def _forget(self, writer: Writer) -> None:
        """Uncount what came after the last file."""
        super()._forget(writer)
        made = [sorted(port.made, key=lambda q: q.index) for port in self.feeders()]
        receivers = [q for queues in made for q in queues if q.direction == "rx"]
        for queue in self.made:
            at = writer.shared.positions[queue.index]
            for each in (queue, *receivers[queue.index : queue.index + 1]):
                each.counters.packets -= min(at.beyond, each.counters.packets)
                each.counters.bytes -= min(at.beyond_bytes, each.counters.bytes)
            at.beyond = at.beyond_bytes = 0

    def close(self) -> None:
        """Close what is open; a file without a name is gone then."""
        super().close()
        if self.ahead >= 0:
            os.close(self.ahead)
            self.ahead = -1
        if self.folder:
            self.folder.close()
            self.folder = None
        if self.rotation.tell:
            self.rotation.tell.close()
