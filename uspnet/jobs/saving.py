# SPDX-License-Identifier: Apache-2.0
"""Saving a run's latencies to files: a log that HdrHistogram's tools read, or a plot."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from uspnet.errors import Usage, UspnetError
from uspnet.jobs.histogram import pairs, percentiles
from uspnet.jobs.seconds import Interval
from uspnet.ports.pcap.format import file_error
from uspnet.system import kept
from uspnet.system.outfile import OutFile
from uspnet.telemetry.hdr import log_head, log_line
from uspnet.telemetry.plot import Line, Plot, load_library

IMAGES = (".svg", ".png")

if TYPE_CHECKING:
    from uspnet.ports.pcap.sink import Sink


@dataclass(frozen=True)
class Files:
    """What is kept of a run: files of its latencies, and one of the packets that never came
    back.
    """

    latencies: Sequence[SavedFile] = ()
    lost: Sink | None = None


class SavedFile(ABC):
    """A file of a run's latencies."""

    option: ClassVar[str]  # that names it, and what to write there
    example: ClassVar[str]

    def __init__(self, path: str) -> None:
        """Raise Usage for stdout."""
        if path == "-":
            text = f"{self.option}: latencies go to a file, not to stdout"
            raise Usage(text, f"name one: {self.option} {self.example}")
        self.path = path
        self._file: OutFile | None = None
        self._fd = -1
        self._size = 0  # of what is complete

    def open(self) -> None:
        """Open or create the file, which keeps what it holds until `begin`. Raises Usage for what
        is no file, and as the system calls do.
        """
        try:
            self._file = OutFile(self.path)
            self._fd = self._file.open()
            if self._fd < 0 or not stat.S_ISREG(os.fstat(self._fd).st_mode):
                text = f"{self.option}: {self.path} is not a file"
                raise Usage(text, f"name one: {self.option} {self.example}")
        except UspnetError:  # some are OSErrors, too
            self.close()
            raise
        except OSError as error:
            self.close()
            raise file_error(self.path, error) from None

    @abstractmethod
    def begin(self) -> None:
        """Begin the file: the run starts."""

    def add(self, interval: Interval) -> None:
        """Save what was counted in a second; the last one may be shorter."""

    def end(self, counts: Sequence[int], seconds: float) -> None:
        """Save what was counted by slot for so many seconds since `begin`: in all."""

    def _write(self, data: bytes) -> None:
        """Append all or nothing."""
        at = self._size
        try:
            os.ftruncate(self._fd, self._size)
            while at < self._size + len(data):
                at += os.pwrite(self._fd, data[at - self._size :], at)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise file_error(self.path, error) from None
        self._size = at

    def close(self) -> None:
        """Close the file; remove one that was created and holds nothing."""
        if self._file:
            if self._file.created and self._fd >= 0 and not self._size:
                self._file.remove(self._fd)
            self._file.close()
            self._file = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class HdrFile(SavedFile):
    """A log of histograms. A version of uspnet that goes on with a run appends to what the one
    before has written.
    """

    option, example = "--save", "run.hdr"
    _began = 0.0  # seconds since 1970

    def begin(self) -> None:
        """Write the head; what the file held is gone, unless the version before has written it."""
        self._began = time.time()
        if kept.former():
            self._size = os.lseek(self._fd, 0, os.SEEK_END)
        self._write((log_head(self._began) if not self._size else "").encode())

    def add(self, interval: Interval) -> None:
        """Append what was counted in a second."""
        began, counts = self._began + interval.begins, interval.counts
        longest = (percentiles(counts) or {"max": 0})["max"]
        self._write(log_line(began, interval.seconds, longest, counts).encode())


class PlotFile(SavedFile):
    """A plot of the latencies by percentile, SVG or PNG by the file's name. A version of uspnet
    that goes on with a run plots what it has measured itself.
    """

    option, example = "--plot", "latency.svg"

    def __init__(self, path: str, title: str) -> None:
        """Raise Usage for stdout and other kinds of images, NotSupported without the library."""
        super().__init__(path)
        self.title, self.kind = title, os.path.splitext(path)[1].lower()
        if self.kind not in IMAGES:
            hint = f"name one that ends in {' or '.join(IMAGES)}: {self.option} {self.example}"
            raise Usage(f"{self.option}: {path} is no name of an image", hint)
        if self.kind == ".png":
            load_library()

    def begin(self) -> None:
        """Do nothing: what the file held stays until there is a plot."""

    def end(self, counts: Sequence[int], seconds: float) -> None:
        """Draw the plot."""
        title = f"{self.title}, {sum(counts):,} packets in {seconds:.1f} s"
        self.draw([Line("", pairs(counts))], title)

    def draw(self, lines: Sequence[Line], title: str) -> None:
        """Draw lines."""
        plot = Plot(title, lines)
        self._write(plot.png() if self.kind == ".png" else plot.svg().encode())
