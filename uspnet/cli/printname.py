# SPDX-License-Identifier: Apache-2.0
"""`-b printname:FILE`: where the names of complete files go."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from typing import TextIO

from uspnet.errors import NoDevice, Usage, UspnetError
from uspnet.ports.pcap.format import file_error
from uspnet.ports.pcap.rotation import Teller
from uspnet.system.outfile import OutFile
from uspnet.text import printable


def teller(name: str, *, json: bool) -> Teller:
    """Return what prints a file's name where -b printname says. Raises Usage."""
    if name in {"-", "stdout"} and json:
        raise Usage("names and --json both go to stdout", "write -b printname:stderr")
    if name in {"-", "stdout", "stderr"}:
        return _Printed(sys.stderr if name == "stderr" else sys.stdout)
    return _Names(name)


@dataclass(frozen=True)
class _Printed(Teller):
    """Names on a standard stream."""

    file: TextIO

    def __call__(self, text: str) -> None:
        """Write a name. Raises OSError."""
        print(printable(text), file=self.file, flush=True)


class _Names(Teller):
    """A file of names. What it has had is gone with the first name, when the job is under way; a
    file that was made and has got none is gone, too.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.out: OutFile | None = None
        self.fd = -1
        self.is_old = self.told = False

    def open(self) -> None:
        """Open the file. Raises NoDevice and what file_error returns."""
        try:
            self.out = OutFile(self.path)
            self.fd = self.out.open()
        except UspnetError:  # some are OSErrors, too
            raise
        except OSError as error:
            raise file_error(self.path, error) from None
        if self.fd < 0:
            raise NoDevice(f"{self.path}: nobody reads this FIFO", "start its reader first")
        self.is_old = stat.S_ISREG(os.fstat(self.fd).st_mode)

    def __call__(self, text: str) -> None:
        """Write a name. Raises OSError."""
        self.told = True
        if self.is_old:
            os.ftruncate(self.fd, 0)
            self.is_old = False
        with open(self.fd, "a", errors="surrogateescape", closefd=False) as file:
            file.write(f"{text}\n")

    def close(self) -> None:
        """Close the file."""
        if self.out and self.fd >= 0:
            if self.out.created and not self.told:
                self.out.remove(self.fd)
            os.close(self.fd)
            self.fd = -1
        if self.out:
            self.out.close()
            self.out = None
