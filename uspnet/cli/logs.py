# SPDX-License-Identifier: Apache-2.0
"""The log of `uspnet run`: a line for each event on stderr, with a level, without control
characters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum

from uspnet.jobs.supervise.entry import Level
from uspnet.text import printable

TEXT_MAX = 4000  # characters of a line


class LogLevel(StrEnum):
    """The least important lines that are shown."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class Log:
    """Writes lines `LEVEL job: text`: behind the time or, where stderr goes to systemd's journal,
    which has times of its own, behind the priority that it reads (sd-daemon(3)).
    """

    def __init__(self, level: LogLevel, environment: Mapping[str, str] = os.environ) -> None:
        self.most = Level[level.value]
        self.is_journal = is_journal(environment.get("JOURNAL_STREAM", ""), sys.stderr.fileno())
        self.print: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)

    def __call__(self, level: Level, job: str, text: str) -> None:
        """Write a line, if its level is wanted."""
        if level <= self.most:
            self.print(format_line(level, job, text, is_journal=self.is_journal))


def format_line(level: Level, job: str, text: str, *, is_journal: bool) -> str:
    """Format one line."""
    if is_journal:
        start = f"<{level:d}>"
    else:
        start = datetime.now().astimezone().isoformat(timespec="milliseconds") + " "
    return f"{start}{level.name.upper()} {job}: {printable(text.strip(), TEXT_MAX)}"


def is_journal(stream: str, fd: int) -> bool:
    """Return whether a descriptor is the stream that systemd names: `DEVICE:INODE`."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"
