# SPDX-License-Identifier: Apache-2.0
"""The process that reads what can't be mapped, and passes it on through a pipe: what comes from
another program, and compressed files.

Nobody waits for its input but it: the job goes on, and ends, while nothing comes. Unpacking the
bytes of a stranger is its work, too, so it gives up whatever it could do beside.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
from enum import IntEnum

from uspnet.errors import DeviceFault, Malformed, NoMemory, NotSupported, UspnetError
from uspnet.ports.pcap import compression
from uspnet.ports.pcap.format import file_error
from uspnet.system import child, privileges

PIPE_BYTES = 1 << 20
STEP_BYTES = 1 << 18
LEAVE_S = 1.0
KINDS = 16  # more kinds of compression than there are
ERRNO = 100


class End(IntEnum):
    """How the child ended. Its exit status is that times KINDS, and the kind of compression; or
    from ERRNO on, an error number of its input.
    """

    WELL = 0
    CUT = 1
    DAMAGED = 2
    FOREIGN = 3  # a format that only its own program reads
    MISSING = 4  # no module for it
    LARGE = 5  # it takes more memory than a child may have


class Feeder:
    """The child, and the pipe's end (`fd`, which does not block) that its packets come out of."""

    def __init__(self, source: int, path: str) -> None:
        self.path = path
        self.pid, self.ended = -1, -1
        self.user = privileges.nobody()  # the user that the child runs as; 0: our own
        self.fd, out = os.pipe2(os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # of all pipes of a user, the kernel limits the sum
                fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            os.set_blocking(self.fd, False)
            self.pid = child.fork(_Child(source, out, self.user).work)
        except OSError as error:
            self.close()
            text = f"no process to read with: {error.strerror}"
            raise NoMemory(text, "see: ulimit -u, ulimit -n") from None
        finally:
            os.close(out)

    def failure(self) -> UspnetError | None:
        """Return why the input ended early; call it after the end of the pipe."""
        status, name = self._status(LEAVE_S), self.path
        if status is None or status == End.WELL:
            return None
        if status < 0:
            return DeviceFault(f"{name}: the process that reads it was killed", "see: dmesg")
        if status >= ERRNO:
            return file_error(self.path, OSError(status - ERRNO, ""))
        end, number = divmod(status, KINDS)
        kind, command = list(compression.COMMANDS.items())[number]
        match end:
            case End.CUT:
                return Malformed(f"{name}: the {kind} data ends too early", "copy it again")
            case End.DAMAGED:
                hint = f"test it: {command} FILE > /dev/null"
                return Malformed(f"{name}: the {kind} data is damaged", hint)
            case End.LARGE:
                text = f"{name}: unpacking it takes more than 1 GiB"
                command = command.replace("zstd", "zstd --long=31")
                return NoMemory(text, f"try: {command} FILE | uspnet … pcap:-")
            case _:
                hint = f"unpack it: {command} FILE | uspnet … pcap:-"
                return NotSupported(f"{name} is compressed", hint)

    def _status(self, patience_s: float) -> int | None:
        """Return the child's exit status, negative for a signal; None while it runs."""
        if self.ended < 0:
            pidfd = os.pidfd_open(self.pid)
            gone = child.gone(pidfd, patience_s)
            os.close(pidfd)
            if not gone:
                return None
            self.ended = os.waitpid(self.pid, 0)[1]
        return os.waitstatus_to_exitcode(self.ended)

    def close(self) -> None:
        """Close the pipe, which ends the child; kill one that is stopped."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.pid > 0 and self._status(LEAVE_S) is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            self._status(LEAVE_S)


class _Input:
    """The child's input as a file. `read` waits for bytes, or for the job's end."""

    def __init__(self, fd: int, out: int) -> None:
        self.fd, self.out = fd, out
        self.kept = b""  # read ahead
        self.poll = select.poll()
        self.poll.register(fd, select.POLLIN)
        self.poll.register(out, 0)  # an error there: nobody reads

    def wait(self) -> None:
        """Wait until a read does not block. Raises BrokenPipeError if nobody reads our output."""
        events: dict[int, int] = {}
        while not events.get(self.fd):
            events = dict(self.poll.poll())
            if events.get(self.out):  # first: input that stands for nothing may never end
                raise BrokenPipeError(errno.EPIPE, "")

    def read(self, size: int = STEP_BYTES) -> bytes:
        """Return up to `size` bytes; none at the end."""
        if self.kept:
            taken, self.kept = self.kept[:size], self.kept[size:]
            return taken
        while True:
            self.wait()
            with contextlib.suppress(BlockingIOError):
                return os.read(self.fd, min(size if size > 0 else STEP_BYTES, STEP_BYTES))

    def begin(self) -> bytes:
        """Return the first bytes, without consuming them."""
        found = b""
        while len(found) < compression.MAGIC_BYTES and (more := self.read()):
            found += more
        self.kept = found
        return found[: compression.MAGIC_BYTES]

    def readable(self) -> bool:
        """Return True, for io wrappers."""
        return True

    def seekable(self) -> bool:
        """Return False, for io wrappers."""
        return False


class _Child:
    """What the child works with."""

    def __init__(self, source: int, out: int, user: int) -> None:
        self.source, self.out, self.user = source, out, user
        self.kind = ""

    def work(self) -> None:
        """Run the child; never return into the parent's code."""
        status = ERRNO + errno.EIO
        try:
            self.isolate()
            if end := self.run():
                status = end * KINDS + list(compression.COMMANDS).index(self.kind)
            else:
                status = End.WELL
        except OSError as error:
            status = ERRNO + (error.errno or errno.EIO)
        finally:
            os._exit(min(status, 255))

    def isolate(self) -> None:
        """Close all other descriptors, and give up all privileges."""
        ends = (self.source, self.out)
        self.source, self.out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in ends)
        compression.load()
        child.isolate("uspnet-reader", (self.source, self.out))
        child.confine(self.user, signal.SIGKILL)

    def run(self) -> End:
        """Copy the whole input to the pipe, unpacked."""
        source = _Input(self.source, self.out)
        self.kind = compression.kind_of(source.begin())
        if self.kind and self.kind not in compression.OPENERS:
            return End.FOREIGN
        if not self.kind:
            while piece := source.read():
                self.write(piece)
            return End.WELL
        try:
            unpacked = compression.OPENERS[self.kind](source)
        except ImportError:
            return End.MISSING
        return self.unpack(unpacked)

    def unpack(self, unpacked: compression.Reader) -> End:
        """Copy the unpacked data up to the first damage."""
        while True:
            try:
                piece = unpacked.read1(STEP_BYTES)
            except EOFError:
                return End.CUT
            except BrokenPipeError:
                raise
            except compression.damaged() as error:
                return End.LARGE if compression.is_too_large(error) else End.DAMAGED
            if not piece:
                return End.WELL
            self.write(piece)

    def write(self, piece: bytes) -> None:
        """Write the whole piece."""
        view = memoryview(piece)
        while view:
            view = view[os.write(self.out, view) :]
