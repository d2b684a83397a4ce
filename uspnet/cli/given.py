# SPDX-License-Identifier: Apache-2.0
"""Packets for `pktgen` that exist already: hexadecimal text on stdin, and those of captures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from uspnet.cli.replay import source
from uspnet.cli.trial import is_on_trial
from uspnet.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uspnet.packets.given import Given
    from uspnet.packets.streams import Weighted

EXAMPLE = "xxd frame.bin | uspnet pktgen PORT --packet -"


def stdin_text() -> str:
    """Return what stdin has. Raise Usage."""
    from uspnet.packets.hexdump import TEXT_MAX

    if is_on_trial():
        raise Usage(
            "--packet -: in a file of jobs or streams, there is no stdin", "write hex:ffff…"
        )
    if sys.stdin.isatty():
        raise Usage("--packet -: stdin is a terminal", EXAMPLE)
    try:
        return sys.stdin.buffer.read(TEXT_MAX + 1).decode("latin-1")
    except OSError as error:
        raise Usage(f"--packet -: stdin: {error.strerror}", EXAMPLE) from None


def read_captures(names: Sequence[str]) -> tuple[list[Given], list[str]]:
    """Read the packets of capture files. Return with them what is to be said about the files. Raise
    Usage, and what can be wrong with files.
    """
    from uspnet.packets.frames import BYTES_MAX, FRAMES_MAX
    from uspnet.packets.given import Given
    from uspnet.ports.pcap.whole import read_frames

    made, notes = [], []
    for name in names:
        file = source(name, {}, "--pcap")
        read = read_frames(file, FRAMES_MAX, BYTES_MAX)
        made.append(Given(file.label, read.frames))
        notes += read.notes
    return made, notes


def all_packets(
    texts: Sequence[str], captures: Sequence[str]
) -> tuple[list[Weighted | Given], list[str]]:
    """Return the packets of `--packet` and `--pcap`, and what is to be said about files. Raise
    Usage, and what can be wrong with files.
    """
    from uspnet.packets.streams import read_packets

    packets = read_packets(texts, stdin_text)
    given, notes = read_captures(captures)
    return [*packets, *given], notes
