# SPDX-License-Identifier: Apache-2.0
"""`-b printname:FILE`: where the names of complete files go."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable

from uspnet.errors import NoDevice, Usage, UspnetError
from uspnet.ports.pcap.format import file_error
from uspnet.system.outfile import OutFile
from uspnet.text import printable


def teller(name: str, *, json: bool) -> Callable[[str], None]:
    """Return what prints a file's name where -b printname says. Raises Usage, NoDevice and what
    file_error returns.
    """
    if name in {"-", "stdout"} and json:
        raise Usage("names and --json both go to stdout", "write -b printname:stderr")
    if name in {"-", "stdout", "stderr"}:
        file = sys.stderr if name == "stderr" else sys.stdout
        return lambda text: print(printable(text), file=file, flush=True)
    return _Names(name)


class _Names:
    """A file of names. What it has had is gone with the first name, when the job is under way."""

    def __init__(self, path: str) -> None:
        try:
            out = OutFile(path)
            try:
                self.fd = out.open()
            finally:
                out.close()
        except UspnetError:  # some are OSErrors, too
            raise
        except OSError as error:
            raise file_error(path, error) from None
        if self.fd < 0:
            raise NoDevice(f"{path}: nobody reads this FIFO", "start its reader first")
        self.is_old = stat.S_ISREG(os.fstat(self.fd).st_mode)

    def __call__(self, text: str) -> None:
        """Write a name. Raises OSError."""
        if self.is_old:
            os.ftruncate(self.fd, 0)
            self.is_old = False
        with open(self.fd, "a", errors="surrogateescape", closefd=False) as file:
            file.write(f"{text}\n")
