# SPDX-License-Identifier: Apache-2.0
"""A capture file as the process sees it that writes: what is in it ends with a whole record."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
from collections.abc import Callable

from uspnet.fastpath import c, lib
from uspnet.ports.pcap.packing import Packer

STEP, WINDOW = 8 << 20, 128 << 20  # bytes: written behind at a time, and kept in the page cache
SMALL = 512  # bytes: the least that a disk has room for, or not


class Output:
    """An open file or pipe, from where it stands. `pack` makes what compresses it. What a pipe has
    taken is counted in `shared` at once, if there is some.
    """

    def __init__(
        self, fd: int, pack: Callable[[], Packer] | None, shared: c.PcapShared | None = None
    ) -> None:
        self.fd, self.error, self.shared = fd, 0, shared
        self.packer = pack() if pack else None
        self.can_cut = stat.S_ISREG(os.fstat(fd).st_mode)
        # Where pieces may be written over the end of those before them.
        self.can_seek = self.can_cut and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        self.begun = False
        self.behind = 0  # bytes for which the disk was not asked yet

    def put(self, data: memoryview) -> int:
        """Write. Return the bytes that were; if some were not, `error` has the reason."""
        done, most = 0, len(data)
        while done < len(data):
            try:
                done += self._take(os.write(self.fd, data[done : done + most]))
            except BlockingIOError:  # another process set O_NONBLOCK on stdout's pipe
                select.select([], [self.fd], [])
            except OSError as error:
                self.error = error.errno or 0
                if self.error != errno.ENOSPC or most <= SMALL or not self.can_cut:
                    break
                most //= 2  # ext4 may take all of a large write or nothing
        self._write_behind(done)
        return done

    def _take(self, octets: int) -> int:
        """Count what was taken, and return it."""
        if self.shared and not self.can_cut:
            self.shared.taken += octets
        return octets

    def _write_behind(self, octets: int) -> None:
        """Have what was written leave the page cache after a while."""
        self.behind += octets
        if self.behind >= STEP and self.can_cut:
            at = max(os.lseek(self.fd, 0, os.SEEK_CUR) - self.behind, 0)  # others may cut it
            lib.file_write_behind(self.fd, at, self.behind, WINDOW)
            self.behind = 0

    def put_direct(self, pages: memoryview) -> int:
        """Write whole pages, from and to addresses of pages, past the page cache. Return the bytes
        that were written; less than all if that can't be, whatever the reason.
        """
        done = 0
        try:
            self._set_direct(True)
            while done < len(pages):
                done += os.write(self.fd, pages[done:])
        except OSError as error:
            self.error = error.errno or 0
        self._set_direct(False)
        return done

    def _set_direct(self, on: bool) -> None:
        flags = fcntl.fcntl(self.fd, fcntl.F_GETFL)
        fcntl.fcntl(self.fd, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)

    def cut(self, octets: int) -> None:
        """Remove the last bytes that were written."""
        if self.can_cut:
            end = os.lseek(self.fd, 0, os.SEEK_CUR)  # right for appending, too
            os.ftruncate(self.fd, end - octets)
            if self.can_seek:
                os.lseek(self.fd, end - octets, os.SEEK_SET)

    def add(self, data: bytes) -> int:
        """Write a piece that is compressed, and return its bytes in the file. Raises OSError; the
        file is as before, then.
        """
        assert self.packer  # noqa: S101 - the caller's mistake
        piece, end = self.packer.add(data), self.packer.end if self.can_seek else b""
        done = self.put(memoryview(piece + end))
        if done < len(piece + end):
            self.cut(done)
            if self.begun and end:
                self.put(memoryview(end))  # there was room for it
            raise OSError(self.error, "")
        if end:
            os.lseek(self.fd, -len(end), os.SEEK_CUR)
            self.behind = max(self.behind - len(end), 0)
        self.begun = True
        return len(piece)

    def close(self) -> None:
        """Complete the file. Raises OSError."""
        if self.packer and self.begun:
            if self.can_seek:
                os.lseek(self.fd, len(self.packer.end), os.SEEK_CUR)
            else:
                self.put(memoryview(self.packer.end))
        os.close(self.fd)
