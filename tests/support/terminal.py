# SPDX-License-Identifier: Apache-2.0
"""A terminal for programs under test: it obeys what Rich sends, and shows what is left on it."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios

from tests.support.waiting import scaled

LOCAL_FLAGS = 3  # in what tcgetattr returns
TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Terminal:
    """A pseudo-terminal of a size, and the program that runs on it. A context manager."""

    def __init__(self, *arguments, width=80, height=24):
        self.width, self.height = width, height
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))
        how = termios.tcgetattr(slave)
        how[LOCAL_FLAGS] |= termios.NOFLSH  # Ctrl-C discards nothing that was not read yet
        termios.tcsetattr(slave, termios.TCSANOW, how)
        size = {"COLUMNS", "LINES"}  # which are the terminal's, though pytest-xdist sets them
        inherited = {name: value for name, value in os.environ.items() if name not in size}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "uspnet", *arguments],
            stdin=slave, stdout=slave, stderr=slave,
            env={**inherited, "TERM": "xterm", "PYTHONUTF8": "1"},
        )  # fmt: skip
        os.close(slave)
        self.text = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end inside a character

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def press(self, key):
        """Types something, which the terminal also shows."""
        os.write(self.master, key)

    def read_until(self, wanted, seconds=60):
        """Reads until the screen shows a text; None: until the program has ended."""
        while wanted is None or not any(wanted in line for line in self.lines()):
            assert select.select([self.master], [], [], scaled(seconds))[0], self.lines()
            data = b""
            with contextlib.suppress(OSError):  # it has closed the terminal
                data = os.read(self.master, 65536)
            if not data:
                assert wanted is None, self.lines()
                break
            self.text += self.decoder.decode(data)
        return self.lines()

    def lines(self):
        """What the screen shows, and what has scrolled out of it."""
        screen = Grid(self.width)
        for match in TOKEN.finditer(self.text):
            number = int(re.sub(r"\D", "", match[1] or "") or 1)
            match match[2] or match[0]:
                case "\r":
                    screen.column = 0
                case "\n":
                    screen.row += 1
                case "A":
                    screen.row = max(screen.row - number, 0)
                case "K":
                    screen.line().clear()
                case text if not match[2]:
                    screen.write(text)
        return ["".join(line).rstrip() for line in screen.rows]


class Grid:
    """Characters by row and column, and a cursor."""

    def __init__(self, width):
        self.width, self.rows, self.row, self.column = width, [], 0, 0

    def line(self):
        """The row that the cursor is in."""
        self.rows += [[] for _ in range(self.row + 1 - len(self.rows))]
        return self.rows[self.row]

    def write(self, text):
        """Writes at the cursor; a line that is full goes on in the next row."""
        for character in text:
            if self.column == self.width:
                self.row, self.column = self.row + 1, 0
            line = self.line()
            line += " " * (self.column + 1 - len(line))
            line[self.column] = character
            self.column += 1
