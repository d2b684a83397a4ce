# SPDX-License-Identifier: Apache-2.0
"""What a capture file says of itself, in lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from uspnet.cli.views.console import INDENT
from uspnet.cli.views.examined import moment
from uspnet.cli.views.units import format_count, format_rate
from uspnet.jobs.reading.answer import FileAbout
from uspnet.ports.pcap.about import InterfaceAbout, SectionAbout, StatisticsAbout

LOSSES = 20  # lines of an interface


def about_lines(about: FileAbout) -> Iterator[str]:
    """Say how a file was made, and when packets were lost."""
    described: dict[int, list[InterfaceAbout]] = defaultdict(list)
    counted: dict[int, list[StatisticsAbout]] = defaultdict(list)
    for each in about.interfaces:
        described[each.section].append(each)
    for row in about.statistics:
        counted[row.interface].append(row)
    for number, section in enumerate(about.sections):
        if len(about.sections) > 1:
            yield f"{INDENT}section {number}"
        yield from _section(section)
        for each in described[number]:
            yield from _interface(each, counted[each.interface])
    if about.left_out:
        yield f"{INDENT}and {about.left_out:,} more blocks"
    if not about.sections:
        for each in about.interfaces:
            yield from _interface(each, counted[each.interface])


def _section(section: SectionAbout) -> Iterator[str]:
    yield from _said(
        ("written by", section.application),
        ("on", section.os),
        ("hardware", section.hardware),
        *(("comment", text) for text in section.comments),
    )


def _interface(each: InterfaceAbout, own: Sequence[StatisticsAbout]) -> Iterator[str]:
    yield f"{INDENT}interface {each.interface}: {each.name or 'without a name'}"
    snaplen = f"{each.snaplen:,} bytes of each packet" if each.snaplen else "whole packets"
    lines = _said(
        ("link", f"{each.link}, {snaplen}, times in {each.time_unit}"),
        ("description", each.description),
        ("hardware", each.hardware),
        ("system", each.os),
        ("filter", each.filter),
        ("MAC address", each.mac),
        ("addresses", ", ".join(each.addresses) or None),
        ("speed", format_rate(each.speed_bps, "bit/s") if each.speed_bps else None),
        *(("comment", text) for text in each.comments),
    )
    yield from (INDENT + line for line in lines)
    yield from (INDENT + line for line in _statistics(own))


def _statistics(rows: Sequence[StatisticsAbout]) -> Iterator[str]:
    """Say what the last statistics are, and in which times packets were lost."""
    if not rows:
        yield f"{INDENT}lost: the file does not say"
        return
    last = rows[-1]
    counts = [
        ("arrived", last.received),
        ("accepted by the filter", last.accepted),
        ("lost", last.dropped),
        ("lost by the system", last.os_dropped),
        ("written", last.delivered),
    ]
    told = ", ".join(f"{name}: {format_count(n)}" for name, n in counts if n is not None)
    yield from _said(
        ("counters at", f"{moment(last.time_ns)}: {told or 'none'}"),
        ("from", moment(last.start_ns) if last.start_ns is not None else None),
        ("to", moment(last.end_ns) if last.end_ns is not None else None),
        *(("comment", text) for text in last.comments),
    )
    begun = rows[0].start_ns
    first = [] if begun is None else [replace(rows[0], time_ns=begun, dropped=0)]
    lost = [
        (before, now, (now.dropped or 0) - (before.dropped or 0))
        for before, now in pairwise([*first, *rows])
        if (now.dropped or 0) > (before.dropped or 0)
    ]
    for before, now, count in lost[:LOSSES]:
        when = f"{moment(before.time_ns)} to {moment(now.time_ns)}"
        yield f"{INDENT}{when}: {format_count(count)} lost"
    if len(lost) > LOSSES:
        yield f"{INDENT}and in {len(lost) - LOSSES:,} more times: see --json"


def _said(*rows: tuple[str, str | None]) -> Iterator[str]:
    """Yield the rows that say something."""
    return (f"{INDENT}{name}: {text}" for name, text in rows if text)
