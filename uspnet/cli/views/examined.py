# SPDX-License-Identifier: Apache-2.0
"""What is in capture files: sums, flows, bursts, and what they say of themselves."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from uspnet.cli.views.chart import bars
from uspnet.cli.views.console import INDENT, columns_of, plain_console, print_lines, show_lines
from uspnet.cli.views.table import Column, Table, fit
from uspnet.cli.views.units import format_count, format_rate, format_share, format_time
from uspnet.jobs.reading.answer import (
    BurstCount,
    FileAnswer,
    FlowCount,
    InterfaceCount,
    RateCount,
    Statistics,
)
from uspnet.text import printable

NS = 1_000_000_000
ROWS = 16  # of the plot, at most


def show_file(file: FileAnswer) -> None:
    """Print what was found in a file."""
    show_lines([f"{file.file}  {file.format or ''}"])
    if file.about:
        from uspnet.cli.views.abouts import about_lines

        show_lines(about_lines(file.about))
    if file.statistics:
        show_lines(sums(file.statistics))
        show_lines(losses(file.statistics.interfaces))
        show_lines(sizes(file.statistics))
        show_lines(plot(file.statistics))
        show_flows(file.statistics.top, _flows(file.statistics.flows))
    if file.bursts:
        show_bursts(file.bursts)


def moment(ns: int | None) -> str:
    """Return a time as people write it, in UTC."""
    if ns is None:
        return "-"
    try:
        day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ns // NS))
    except (OverflowError, ValueError, OSError):  # a file may say any number
        return f"{ns // NS}.{ns % NS:09} s since 1970"
    return f"{day}.{ns % NS:09} UTC"


def sums(found: Statistics) -> Iterator[str]:
    """Say what the packets add up to."""
    octets = f"{format_count(found.bytes)} bytes on the wire"
    if found.cut:
        octets += f", {format_count(found.captured_bytes)} of them in the file"
        octets += f" ({format_count(found.cut)} packets in part)"
    yield f"{INDENT}{format_count(found.packets)} packets, {octets}"
    if found.packets:
        mean = found.bytes / found.packets
        yield f"{INDENT}{found.shortest} to {found.longest} bytes, {mean:.1f} on average"
    if found.duration_s is not None:
        yield f"{INDENT}{moment(found.first_ns)}, for {found.duration_s:.9f} s"
    if found.pps is not None:
        rates = f"{format_rate(found.pps, 'pps')}, {format_rate(found.bps, 'bit/s')}"
        yield f"{INDENT}{rates} on average"
    if found.disordered:
        yield f"{INDENT}{format_count(found.disordered)} packets with a time before the last one's"
    if found.timeless:
        yield f"{INDENT}{format_count(found.timeless)} packets without a time"


def losses(interfaces: Sequence[InterfaceCount]) -> Iterator[str]:
    """Say what was lost, where the file says so."""
    for each in interfaces:
        name = each.name or f"interface {each.interface}"
        told = f"{format_count(each.packets)} packets"
        if each.dropped is None:
            lost = "lost: the file does not say"
        elif each.received is None:
            lost = f"lost: {format_count(each.dropped)}"
        else:
            share = format_share(each.dropped, max(each.received, each.dropped))
            lost = f"lost: {format_count(each.dropped)} ({share}), arrived: "
            lost += format_count(each.received)
        yield f"{INDENT}{name}: {told}, {lost}"


def sizes(found: Statistics) -> list[str]:
    """Return bars of how many packets have which size."""
    used = [each for each in found.sizes if each.packets]
    names = ["longer" if each.up_to is None else f"up to {each.up_to} bytes" for each in used]
    told = [
        f"{format_count(each.packets)} ({format_share(each.packets, found.packets)})"
        for each in used
    ]
    return _bars(names, [each.packets for each in used], told)


def plot(found: Statistics) -> list[str]:
    """Return bars of the rate by time."""
    if not found.duration_s or not found.step_s:
        return []
    joined = -(-len(found.rates) // ROWS)
    parts = [found.rates[at : at + joined] for at in range(0, len(found.rates), joined)]
    begin, end = found.rates[0].from_ns, found.last_ns or 0
    names = [f"from {format_time((part[0].from_ns - begin) / NS)}" for part in parts]
    seconds = [_seconds(part, found.step_s, end) for part in parts]
    rates = [_rates(part, took) for part, took in zip(parts, seconds, strict=True)]
    told = [f"{format_rate(pps, 'pps')}, {format_rate(bps, 'bit/s')}" for pps, bps in rates]
    return _bars(names, [pps for pps, _ in rates], told)


def _seconds(part: Sequence[RateCount], step: float, last_ns: int) -> float:
    """Return the time that bars of `step` seconds are for: the last one up to the last packet. One
    packet alone has no time: half a step, at least.
    """
    left = (last_ns - part[-1].from_ns) / NS
    return step * (len(part) - 1) + min(max(left, step / 2), step)


def _rates(part: Sequence[RateCount], seconds: float) -> tuple[float, float]:
    """Return packets and bits a second."""
    packets, octets = sum(each.packets for each in part), sum(each.bytes for each in part)
    return packets / seconds, 8 * octets / seconds


def _bars(names: list[str], counts: Sequence[float], told: list[str]) -> list[str]:
    return bars(names, counts, told, columns_of(sys.stdout), sys.stdout)


def show_flows(flows: Sequence[FlowCount], title: str) -> None:
    """Print flows in a table."""
    if not flows:
        return
    columns = [
        Column(title, always=True),
        Column("source", always=True),
        Column("destination", always=True),
        Column("packets", right=True),
        Column("bytes", right=True),
        Column("packets back", right=True),
        Column("bytes back", right=True),
    ]
    rows = [
        [
            each.protocol,
            printable(_end(each.source, each.source_port)),
            printable(_end(each.destination, each.destination_port)),
            *map(format_count, (each.packets, each.bytes, each.back_packets, each.back_bytes)),
        ]
        for each in flows
    ]
    console = plain_console()
    print_lines(console, fit(Table(columns, rows, names=3), console.width))


def _flows(count: int) -> str:
    return "1 flow" if count == 1 else f"{format_count(count)} flows"


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def show_bursts(found: BurstCount) -> None:
    """Print how packets came in bursts."""
    columns = [
        Column("most within", always=True),
        Column("packets", right=True),
        Column("L1 rate", right=True),
        Column("at"),
        Column("packet", right=True),
        Column("largest flow"),
        Column("its share", right=True),
    ]
    rows = []
    for each in found.windows:
        flow, share = _largest(each.top, each.bytes or 0)
        rows.append(
            [
                format_time(each.seconds),
                format_rate(each.pps, "pps"),
                format_rate(each.bps, "bit/s"),
                moment(each.at_ns),
                format_count(each.first),
                flow,
                share,
            ]
        )
    console = plain_console()
    print_lines(console, fit(Table(columns, rows), console.width))
    show_lines(_burst_lines(found))


def _largest(flows: Sequence[FlowCount] | None, total: int) -> tuple[str, str]:
    """Return the ends of the first flow, and its share of the bytes of all."""
    if not flows:
        return "-", "-"
    first = flows[0]
    ends = f"{_end(first.source, first.source_port)} > "
    ends += _end(first.destination, first.destination_port)
    share = format_share(first.bytes + first.back_bytes, total)
    return printable(f"{first.protocol} {ends}"), share


def _burst_lines(found: BurstCount) -> Iterator[str]:
    run, queue = found.longest, found.queue
    if run.packets > 1:
        told = f"{format_count(run.packets)} packets in {format_time(run.seconds)}"
        gap = f"no gap above {format_time(run.gap_s)}"
        yield f"{INDENT}longest burst: {told}, {gap}, from packet {format_count(run.first)} on"
    if queue:
        link = format_rate(queue.link_bps, "bit/s")
        told = f"{format_count(queue.bytes)} bytes, which take {format_time(queue.seconds)}"
        yield f"{INDENT}queue before {link}: {told}, at packet {format_count(queue.number)}"
