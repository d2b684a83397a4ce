# SPDX-License-Identifier: Apache-2.0
"""Bars of characters: how many packets had which latency, and the like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len

from uspnet.answer import Json
from uspnet.cli.views.console import INDENT
from uspnet.cli.views.units import format_count, format_share, format_time

ROWS = 10  # at most
LEAST, MOST = 4, 60  # columns of the longest bar: no chart below, and no wider one
NO_TERMINAL = 80  # columns, where nothing sets them
EIGHTHS = "▏▎▍▌▋▊▉█"
PLAIN = "#"


def latency_chart(bins: list[Json], width: int | None, out: TextIO) -> list[str]:
    """Return the bars of a result's `latency_histogram`, in lines of at most `width` columns; none
    without packets, or without room.
    """
    step = -(-len(bins) // ROWS)
    groups = [bins[at : at + step] for at in range(0, len(bins), step or 1)]
    counts = [sum(each["packets"] for each in group) for group in groups]
    total = sum(counts)
    if not total:
        return []
    up_to = [f"up to {format_time(group[-1]['to_ns'] / 1e9)}" for group in groups]
    told = [f"{format_count(count)} ({format_share(count, total)})" for count in counts]
    return bars(up_to, counts, told, width, out)


def bars(
    names: Sequence[str],
    counts: Sequence[float],
    told: Sequence[str],
    width: int | None,
    out: TextIO,
) -> list[str]:
    """Return a bar for each count, between its name and what is told of it, in lines of at most
    `width` columns; none without counts, or without room.
    """
    columns = max(map(cell_len, names), default=0)
    room = (width or NO_TERMINAL) - len(INDENT) - columns - 2 - max(map(len, told), default=0) - 1
    if room < LEAST or not any(counts):
        return []
    draw, longest = _blocks if _takes_blocks(out) else _letters, max(counts)
    lines = []
    for name, count, text in zip(names, counts, told, strict=True):
        bar = draw(min(room, MOST) * count / longest) if count else ""
        space = " " * (columns - cell_len(name))
        lines.append(f"{INDENT}{space}{name}  {bar}{' ' * bool(bar)}{text if count else '0'}")
    return lines


def _blocks(columns: float) -> str:
    """Return a bar to an eighth of a column, and never an empty one."""
    eighths = max(round(columns * 8), 1)
    return EIGHTHS[-1] * (eighths // 8) + EIGHTHS[eighths % 8 - 1] * bool(eighths % 8)


def _letters(columns: float) -> str:
    return PLAIN * max(round(columns), 1)


def _takes_blocks(out: TextIO) -> bool:
    """Return whether a stream's encoding has the characters."""
    try:
        EIGHTHS.encode(out.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
