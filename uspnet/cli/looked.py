# SPDX-License-Identifier: Apache-2.0
"""`read`: which words are files, and which a filter; files one after the other."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import Usage, UspnetError

if TYPE_CHECKING:
    from uspnet.jobs.choices import Times
    from uspnet.ports.pcap.looking import Look

LIKE_A_FILE = re.compile(r".*\.(pcap|pcapng|cap|dmp|ntar)(\.\w+)?$|\.{0,2}/.*", re.IGNORECASE)


def split(words: Sequence[str], option: str | None) -> tuple[list[str], str | None]:
    """Return the files, and the filter. Raises Usage."""
    for word in words:
        if word.startswith("pcap:"):
            raise Usage(f"{word[:60]!r} is a port", f"name the file: {word[5:60]}")
    n = 1
    while n < len(words) and is_file(words[n]):
        n += 1
    files, text = list(words[:n]), " ".join(words[n:])
    if option is not None and text:
        raise Usage(f"there are two filters: -f {option!r} and {text!r}", "join them by: and")
    if files.count("-") > 1:
        raise Usage("-: stdin can be read once", "drop one of them")
    return files, option if option is not None else text or None


def is_file(word: str) -> bool:
    """Return whether a word names a file rather than something in a filter."""
    return word == "-" or os.path.exists(word) or bool(LIKE_A_FILE.fullmatch(word))


@dataclass
class Looking:
    """Files to look into, the filter, and how many packets of all of them are wanted."""

    files: list[str]
    only: str | None
    count: int | None

    def __post_init__(self) -> None:
        if self.only is not None:
            from uspnet.packets.filter import compile_filter

            compile_filter(self.only)

    def each(self, call: Callable[[Look], None], *, as_json: bool = False) -> None:
        """Open one file after the other. Raises the last error; those before are told."""
        from uspnet.cli.failure import tell
        from uspnet.ports.pcap.looking import Look

        failed: UspnetError | None = None
        left = self.count
        for name in self.files:
            if left == 0:
                break
            try:
                with Look(name, self.only, left) as file:
                    try:
                        call(file)
                    finally:
                        left = file.left if left is not None else None
            except Usage:
                raise
            except UspnetError as error:
                sys.stdout.flush()
                if failed:
                    tell(failed, as_json=as_json)
                failed = error
        if failed:
            raise failed


def show(file: Look, times: Times, *, dump: bool, json: bool, title: bool) -> None:
    """Print the packets of a file."""
    from uspnet.cli.views.console import print_json
    from uspnet.cli.views.packets import Clock, dump_lines, packet_line
    from uspnet.jobs.reading.lines import packets_of
    from uspnet.text import printable

    clock = Clock(times)
    if title and not json:
        print(printable(f"{file.label}:"))
    for burst in packets_of(file, with_bytes=dump):
        for packet, seen in burst:
            if json:
                print_json(packet.as_json())
                continue
            print(printable(packet_line(packet, clock.text(packet.time_ns))))
            if dump:
                print(*dump_lines(seen.data), "", sep="\n")
        if file.is_live:
            sys.stdout.flush()
