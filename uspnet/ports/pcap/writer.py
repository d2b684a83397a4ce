# SPDX-License-Identifier: Apache-2.0
"""The process that writes a capture file, apart from the one that captures.

When a process is killed, the kernel may cut its write() short in the middle of a record. So the
workers only fill shared memory, and a child writes it out: it ignores the signals that end a
capture, and when its parent is gone, however that happened, it writes what is there, and leaves.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
from collections.abc import Sequence
from typing import cast

from uspnet.errors import DeviceFault, NoMemory, UspnetError
from uspnet.fastpath import c, ffi, lib
from uspnet.memory import SharedMemory
from uspnet.ports.pcap.disk import ring_bell
from uspnet.ports.pcap.format import file_error
from uspnet.ports.pcap.hold import Held
from uspnet.ports.pcap.notes import Notes
from uspnet.ports.pcap.output import Output
from uspnet.ports.pcap.parts import Part, Parts
from uspnet.ports.pcap.stage import Stage
from uspnet.system import child, privileges

NOTE_CHUNKS = 2
MUCH = lib.PCAP_CHUNK // 4  # bytes of records
LEAVE_S = 1.0  # for a child without anything to do
SHARED_BYTES = -(-ffi.sizeof("struct pcap_shared") // 4096) * 4096


class Writer:
    """The child process, and the chunks between it and the workers.

    Parameters: the output's descriptor, which stays the caller's; `queues` rings that share
    `buffer_bytes`, at least two chunks each; the records' format (`lib.PCAP_NG`, …); how a file is
    written. `line`: on which the child asks for files, if it does. One more ring is the caller's
    own, for blocks without packets.
    """

    def __init__(self, out: int, queues: int, buffer_bytes: int, form: int, part: Part) -> None:
        chunks = max(buffer_bytes // lib.PCAP_CHUNK // queues, 2)  # a queue
        chunks += part.hold.chunks(queues) if part.hold else 0
        most = [chunks] * queues + [NOTE_CHUNKS]
        size = SHARED_BYTES + sum(most) * lib.PCAP_CHUNK
        self.memory = SharedMemory("uspnet-capture", size, huge=True, inherited=True)
        self.shared = ffi.cast("struct pcap_shared *", self.memory.base)
        self.rings = ffi.new("struct pcap_ring[]", queues + 1)
        at = SHARED_BYTES
        for number, (ring, count) in enumerate(zip(self.rings, most, strict=True)):
            ring.positions = ffi.addressof(self.shared.positions, number)
            ring.chunks = ffi.cast("struct pcap_chunk *", self.memory.base + at)
            ring.n_chunks, ring.format = count, form
            at += count * lib.PCAP_CHUNK
        # Not in shared memory: no worker can make us write elsewhere.
        self.notes = ffi.new("struct pcap_sink *", {"ring": self.rings[queues]})
        self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # The child sees our end in the end of this pipe.
        watched, self.lifeline = os.pipe2(os.O_CLOEXEC)
        self.pidfd = -1
        self.user = privileges.nobody()  # the user that the child runs as; 0: our own
        self.ended: int | None = None  # the child's exit status
        self.given_up = False  # we have killed it
        self.part: Part = part
        self.line: socket.socket | None = None
        theirs: socket.socket | None = None
        try:
            if part.asks:
                self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.pid = child.fork(_Child(out, self, watched, theirs).work)
            self.pidfd = os.pidfd_open(self.pid)
        except OSError as error:
            self.close()
            text = f"no process to write with: {error.strerror}"
            raise NoMemory(text, "see: ulimit -u, ulimit -n") from None
        finally:
            os.close(watched)
            if theirs:
                theirs.close()

    def note(self, blocks: bytes) -> None:
        """Have whole blocks written between packets. They are left out if there is no room."""
        lib.pcap_note(self.notes, ffi.from_buffer("uint8_t[]", blocks), len(blocks))

    def let_go(self, tail: bytes = b"") -> None:
        """Have the child write what is left, then `tail`, and exit. No worker may write now."""
        if self.lifeline >= 0:
            ffi.memmove(self.shared.tail_bytes, tail, len(tail))
            self.shared.tail = len(tail)
            os.close(self.lifeline)
            self.lifeline = -1
            child.send(self.pidfd, signal.SIGCONT)  # it may have been stopped

    def gone(self, timeout_s: float) -> bool:
        """Return whether the child has ended, within `timeout_s` seconds."""
        return child.gone(self.pidfd, timeout_s)

    def wake(self) -> None:
        """Have the child look at all that is there now. Signal handlers may call this."""
        ring_bell(self.bell)

    def progress(self) -> int:
        """Return a number that changes whenever the child has written something."""
        return int(self.shared.taken) + sum(int(ring.positions.written) for ring in self.rings)

    def nudge(self) -> None:
        """Have a child that waits for a pipe's reader count what it took: a signal ends write()."""
        child.send(self.pidfd, signal.SIGCONT)

    def is_empty(self) -> bool:
        """Return whether the child has taken all that there is so far."""
        return all(r.positions.written == r.positions.published for r in self.rings)

    def forget(self, queue: int) -> tuple[int, int]:
        """Return the packets and bytes of a queue that the child, now gone, has not written."""
        octets = ffi.new("uint64_t *")
        return int(lib.pcap_forget(ffi.addressof(self.rings, queue), octets)), int(octets[0])

    def status(self) -> int:
        """Return the exit status of a child that is gone: nonzero if it failed."""
        if self.ended is None:
            self.ended = os.waitpid(self.pid, 0)[1]
        return self.ended

    def failure(self, name: str) -> UspnetError | None:
        """Return why a child that is gone ended early; `name` is that of what it wrote. A reader
        that took no more is no failure.
        """
        code, error = os.waitstatus_to_exitcode(self.status()), int(self.shared.error)
        if error:
            return None if error == errno.EPIPE else file_error(name, OSError(error, ""))
        if code > 0:
            text = f"{name}: the process that writes it failed"
            return DeviceFault(text, "run it once more, and report that")
        if code < 0 and not self.given_up:
            return DeviceFault(f"{name}: the process that writes it was killed", "see: dmesg")
        return None

    def kill(self) -> None:
        """Kill a child that waits for a pipe's reader."""
        self.given_up = True
        child.send(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Free memory and descriptors. A child that is still busy goes on alone."""
        self.let_go()
        if self.line:  # before the child's end: nobody answers any more
            self.line.close()
        if self.pidfd >= 0:
            if self.gone(LEAVE_S):
                self.status()
            os.close(self.pidfd)
        os.close(self.bell)
        self.memory.close()


class _Child:
    """What the child works with. Every failure ends it, with its reason in shared memory."""

    def __init__(self, out: int, writer: Writer, watched: int, line: socket.socket | None) -> None:
        self.out, self.bell, self.watched, self.user = out, writer.bell, watched, writer.user
        self.shared, self.rings = writer.shared, writer.rings
        self.part, self.line = writer.part, line.fileno() if line else -1
        self.parts: Parts | None = None
        self.notes = Notes(self.rings)
        self.held = Held(self.part.hold, writer) if self.part.hold else None
        self.stage = Stage(self.shared, self.bell) if self.part.direct else None

    def work(self) -> None:
        """Run the child; never return into the parent's code."""
        try:
            self.isolate()
            self.run()
            os._exit(0)
        except OSError as error:
            self.shared.error = error.errno or errno.EIO
        except MemoryError:
            self.shared.error = errno.ENOMEM

    def isolate(self) -> None:
        """Close all other descriptors, and give up all privileges."""
        lines = [self.line] if self.line >= 0 else []
        child.isolate("uspnet-writer", (self.out, self.bell, self.watched, *lines))
        self.file = Output(self.out, self.part.pack, self.shared)
        signal.signal(signal.SIGCONT, lambda *_: None)  # see `nudge`: not ignored
        child.confine(self.user, signal.SIGCONT, self.start_disk)
        if lines:
            self.parts = Parts(self.line, self.watched, self.part)
            self.parts.begin()

    def start_disk(self) -> None:
        """Start the thread that writes past the page cache. Without one, nothing goes past it."""
        try:
            if self.stage:
                self.stage.disk.start()
        except RuntimeError:  # the user has too many already
            self.stage, self.shared.cached = None, 1

    def run(self) -> None:
        """Write until the parent is gone and nothing is left."""
        poll = select.poll()
        for fd in (self.watched, self.bell, *([self.line] if self.parts else [])):
            poll.register(fd, select.POLLIN)
        for ring in self.rings:  # a file's reader can wait, as a pipe's can't
            ring.patient = self.file.can_cut
        alone = late = False
        while not alone:
            ends, late = self.parts and self.parts.ends, False
            if not ends and self.sleeps():
                happened = poll.poll(self.patience_ms())
                alone, late = any(fd == self.watched for fd, _ in happened), not happened
                self.shared.asleep = 0
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self.bell)
            if self.parts:
                self.parts.hear()
                alone = alone or self.parts.ends
            self.drain()
            if late or not self.patience_ms():
                self.flush()
            elif self.stage:
                self.stage.settle(self.file)
        self.complete()

    def complete(self) -> None:
        """Write all that is left, and the end of the file."""
        self.drain(least=1)
        if self.held:
            self.held.end()
        if self.parts:
            self.write_notes(None, self.parts.ask_tail())
        else:
            octets = min(int(self.shared.tail), lib.PCAP_TAIL)  # a worker may have written it
            self.write(self.shared.tail_bytes, octets, None)
        self.flush()
        if self.stage:
            self.stage.disk.end()
        self.file.close()  # a network file system reports a full disk only now
        if self.parts:
            self.parts.done()

    def patience_ms(self) -> float:
        """Return how long what was taken may still wait for more."""
        most = self.parts.patience_ms() if self.parts else self.part.patience_ms
        age_ms = self.stage.age_ms() if self.stage else None
        return most if age_ms is None else max(most - age_ms, 0)

    def flush(self) -> None:
        """Write what waits for a whole block."""
        if self.stage:
            self.stage.flush(self.file)

    def sleeps(self) -> bool:
        """Return whether there is nothing to do before the bell rings."""
        if self.held:
            return self.held.sleeps(self.rings)
        return bool(lib.pcap_sleep(self.shared, self.rings, len(self.rings)))

    def drain(self, least: int = MUCH) -> None:
        """Write what is in the rings, one after the other; again while there is much, at least."""
        start = ffi.new("uint8_t **")
        moved = True
        while moved:
            moved = False
            if self.held:
                self.held.look()
            for index in range(len(self.rings) - bool(self.parts)):
                ring = ffi.addressof(self.rings, index)
                length = ready = self.peek(index, start)
                if self.parts and self.parts.turns(length, self.file.fd):
                    self.turn_over()
                if self.parts and self.parts.over:
                    self.flush()
                    self.leave_out(index)
                elif length:
                    if self.parts:
                        length = self.parts.cut(index, ring, start[0], length)
                    written = self.write(start[0], length, ring)
                    if self.parts:
                        self.parts.packed(length, written)
                    moved = moved or ready >= least or length < ready
            if self.parts:
                self.write_notes(self.notes.taken())
                self.parts.hear()

    def peek(self, index: int, start: c.Pointer[c.Pointer[int]]) -> int:
        """Return how many bytes of a ring are to be written now, and set where they begin."""
        if not self.held or index == len(self.rings) - 1:
            return int(lib.pcap_peek(ffi.addressof(self.rings, index), start))
        length = self.held.peek(index, start)
        if self.held.waits():
            self.flush()
            length = self.held.peek(index, start)
        return length

    def turn_over(self) -> None:
        """Go on with the next file."""
        parts = cast("Parts", self.parts)
        if found := parts.ask(taken := self.notes.taken()):
            following, tail = found
            self.write_notes(taken, tail)
            self.flush()
            self.file.close()
            self.file = Output(following, self.part.pack, self.shared)
            parts.done()
            parts.measure(following)

    def write_notes(self, taken: Sequence[int] | None, end: bytes = b"") -> None:
        """Write the blocks without packets that are of this file (`Notes.take`), and its end."""
        parts = cast("Parts", self.parts)
        found = self.notes.take(taken, parts.written)
        if found := (b"" if parts.over else found) + end:
            parts.octets += self.write(ffi.from_buffer("uint8_t[]", found), len(found), None)

    def leave_out(self, index: int) -> None:
        """Count what comes after the last file, and is in none."""
        octets, at = ffi.new("uint64_t *"), self.shared.positions[index]
        at.beyond += lib.pcap_forget(ffi.addressof(self.rings, index), octets)
        at.beyond_bytes += octets[0]

    def write(self, start: c.Pointer[int], length: int, ring: c.PcapRing | None) -> int:
        """Write whole records of a ring, or other bytes, and return the bytes that they took in the
        file. On an error, cut the file after the last whole one and raise.
        """
        if self.stage:
            self.stage.add(self.file, start, length, ring)
            return length
        data = memoryview(ffi.buffer(start, length))
        if self.file.packer and length:
            length_packed = self.file.add(bytes(data))  # a copy, which no worker can change
            if ring:
                lib.pcap_release(ring, length)
            return length_packed
        done = self.file.put(data)
        whole = length
        if done < length:
            whole = int(lib.pcap_whole(ring, start, done)) if ring else 0
            self.file.cut(done - whole)
        if ring:
            lib.pcap_release(ring, whole)
        if done < length:
            raise OSError(self.file.error, "")
        return length
