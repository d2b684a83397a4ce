# SPDX-License-Identifier: Apache-2.0
"""A thread that writes blocks to a disk past the page cache, while the next ones are filled.

O_DIRECT has the disk read a block from where it lies, so whoever writes it only waits. Each block
is a huge page where the kernel has one: the disk gets one address of it, not 512. io_uring would
gain nothing: with ext4, what makes a file longer is written there by a thread, too, one block after
another.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import queue
import threading
from collections.abc import Iterator

from uspnet.fastpath import c, ffi
from uspnet.memory import HUGE_BYTES
from uspnet.ports.pcap.output import Output

PAGE = mmap.PAGESIZE
BLOCK = HUGE_BYTES
BLOCKS = 4  # one that is written, one that is filled, and two in between
LEAST = 64 << 10  # bytes: fewer go through the page cache


def ring_bell(bell: int) -> None:
    """Wake who waits for an eventfd. One that is full rings anyway: worker processes have it, too,
    and may write anything.
    """
    with contextlib.suppress(BlockingIOError):
        os.eventfd_write(bell, 1)


class Block:
    """Memory for BLOCK bytes, of which those from `start` to `end` are on their way into a file:
    `start` is where they will be in a page of it. `done` of them are in the file.
    """

    def __init__(self, view: memoryview) -> None:
        self.view, self.base = view, ffi.from_buffer("uint8_t[]", view)
        self.start = self.end = self.done = 0

    @property
    def octets(self) -> int:
        """Return how many bytes are in it."""
        return self.end - self.start


def blocks() -> list[Block]:
    """Return BLOCKS blocks, as huge pages if there are some."""
    size = (BLOCKS + 1) * BLOCK  # before Linux 6.7, a mapping may begin anywhere in a huge page
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    first = -int(ffi.cast("uintptr_t", ffi.from_buffer(memory))) % BLOCK
    view = memoryview(memory)[first:]
    return [Block(view[n * BLOCK : (n + 1) * BLOCK]) for n in range(BLOCKS)]


class Disk(threading.Thread):
    """The thread. `shared`: it is said there when a file system takes nothing past the page cache
    after all; `bell`: an eventfd that rings when a block is done, or -1.
    """

    def __init__(self, shared: c.PcapShared, bell: int) -> None:
        super().__init__(daemon=True)
        self.shared, self.bell = shared, bell
        self.asked: queue.SimpleQueue[tuple[Block, Output] | None] = queue.SimpleQueue()
        self.tried: queue.SimpleQueue[Block] = queue.SimpleQueue()
        self.under_way = 0  # blocks

    # -- the caller's side -----------------------------------------------------------------------

    def put(self, block: Block, file: Output) -> None:
        """Have a block written behind those before it."""
        self.under_way += 1
        self.asked.put((block, file))

    def done(self, most: int) -> Iterator[Block]:
        """Yield blocks as they were put in, until no more is done; wait while more than `most` are
        under way. One that is not in the file as a whole is the last that is there at all.
        """
        while self.under_way:
            try:
                block = self.tried.get(block=self.under_way > most)
            except queue.Empty:
                return
            self.under_way -= 1
            yield block

    def end(self) -> None:
        """End the thread, when it has written all."""
        self.asked.put(None)
        self.join()

    # -- the thread's side -----------------------------------------------------------------------

    def run(self) -> None:
        """Write what comes, until something can't be."""
        well = True
        while asked := self.asked.get():
            block, file = asked
            block.done = 0
            try:
                if well:
                    self._write(block, file)
            except OSError as error:
                file.error = error.errno or errno.EIO
            well = well and block.done == block.octets
            self.tried.put(block)
            if self.bell >= 0:
                ring_bell(self.bell)

    def _write(self, block: Block, file: Output) -> None:
        """Write, and count in the block how many bytes were."""
        first, last = -(-block.start // PAGE) * PAGE, block.end // PAGE * PAGE
        edges, direct = [block.start, block.end], last - first >= LEAST and not self.shared.cached
        if direct:
            edges[1:1] = [first, last]
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            written = 0
            if direct and number == 1:
                written = file.put_direct(block.view[begin:end])
                if written < end - begin and file.error in {errno.EINVAL, errno.EOPNOTSUPP}:
                    self.shared.cached = 1
            # What did not get past the page cache may get through it: so more of it is on a full
            # disk, and the reason is the right one.
            written += file.put(block.view[begin + written : end])
            block.done += written
            if written < end - begin:
                break
