# SPDX-License-Identifier: Apache-2.0
"""Ports in a table: rates now, share of the line rate, and counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from rich.cells import cell_len

from uspnet.cli.views.console import chop
from uspnet.cli.views.table import Column, Table
from uspnet.cli.views.units import format_count, format_rate, format_share
from uspnet.spec import UNESCAPED
from uspnet.telemetry import PortCounters
from uspnet.text import printable

WIRE_BYTES = 24  # FCS, preamble and gap of each frame
DIRECTIONS = {"pktgen": ("tx",), "capture": ("rx",)}  # of commands; others use both
USUAL = ("tx_ring_empty_descs",)  # each call that sends by a copy counts one, of nothing
NAME_LINES = 4  # of a port: a file's name has at most 255 bytes


@dataclass(frozen=True)
class Rates:
    """What a port receives and sends now, in packets and bytes a second; None: not known."""

    rx_pps: float | None = None
    tx_pps: float | None = None
    rx_bytes: float | None = None
    tx_bytes: float | None = None

    @classmethod
    def between(cls, old: PortCounters, new: PortCounters, seconds: float) -> Rates:
        """Compute the rates between two looks at the same port."""
        names = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes")
        return cls(*(rate(getattr(old, name), getattr(new, name), seconds) for name in names))

    def l1_bps(self, direction: str) -> float | None:
        """Return bits a second on the wire, with FCS, preamble and gap."""
        pps, octets = getattr(self, f"{direction}_pps"), getattr(self, f"{direction}_bytes")
        return None if pps is None or octets is None else 8 * (octets + WIRE_BYTES * pps)


def rate(past: int | None, now: int | None, seconds: float) -> float | None:
    """Return what a counter gained a second; None where that can't be told."""
    if past is None or now is None or now < past or seconds <= 0:
        return None
    return (now - past) / seconds


@dataclass(frozen=True)
class Row:
    """One port: what names it, its counters and rates, and its link's bits a second."""

    names: tuple[str, ...]
    counters: PortCounters
    rates: Rates
    link_bps: int | None = None

    def cells(self) -> list[str]:
        """Return the cells of COLUMNS."""
        link, counters = self.link_bps, self.counters
        shares = [self.rates.l1_bps(direction) if link else None for direction in ("rx", "tx")]
        return [
            format_rate(self.rates.rx_pps, "pps"),
            format_rate(self.rates.tx_pps, "pps"),
            *("-" if bits is None else format_share(bits, link or 0) for bits in shares),
            format_count(counters.rx_packets),
            format_count(counters.tx_packets),
            format_count(counters.rx_missed_errors),
            format_count(counters.dropped),
        ]


def port_table(rows: Sequence[Row], headings: Sequence[str], command: str = "") -> Table:
    """Make the table of ports. `headings` of the names; `command`: the ports' directions."""
    used = DIRECTIONS.get(command, ("rx", "tx") if command else ())
    columns = [
        Column(name, right=True, always=name[:2] in used and "line" not in name)
        for name in ("rx now", "tx now", "rx line", "tx line", "rx packets", "tx packets")
    ]
    lost = [Column(name, right=True, always=True) for name in ("missed", "dropped")]

    def more(start: int) -> list[str]:
        rest = rows[start:]
        names = [*[""] * (len(headings) - 1), f"and {len(rest)} more"]
        return [*names, *total(rest).cells()]

    return Table(
        [*(Column(heading) for heading in headings), *columns, *lost],
        [[*row.names, *row.cells()] for row in rows],
        len(headings),
        more=more,
    )


def total(rows: Sequence[Row]) -> Row:
    """Sum ports up. None: not known of any."""

    def add(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    rates = Rates(*(add([getattr(row.rates, f.name) for row in rows]) for f in fields(Rates)))
    sums = {
        f.name: add([getattr(row.counters, f.name) for row in rows])
        for f in fields(PortCounters)
        if f.name not in {"port", "driver", "drops", "statistics"}
    }
    counters = PortCounters(port="", driver="", drops={}, **sums)  # type: ignore[arg-type]
    return Row((), counters, rates)


def format_statistics(counted: Mapping[str, int]) -> list[str]:
    """Say what the kernel counts of a port besides, as far as that is not 0."""
    return [f"kernel {name} {format_count(count)}" for name, count in counted.items() if count]


def format_unusual(counted: Mapping[str, int]) -> list[str]:
    """Say that, but for what every run counts."""
    return format_statistics({**counted, **dict.fromkeys(USUAL, 0)})


def label(name: str, width: int) -> str:
    """Name a port in at most `width` columns: by its whole spec, or without its options, or by
    scheme and file name; in several lines only when even that is too long, and cut when there
    would be more than NAME_LINES.
    """
    whole = printable(name)
    short = UNESCAPED.split(whole)[0]
    scheme, colon, target = short.partition(":")
    base = scheme + colon + target.rpartition("/")[2]
    for each in (whole, short, base):
        if cell_len(each) <= width:
            return each
    lines = chop(base, width)
    return "\n".join(lines) if len(lines) <= NAME_LINES else printable(base, width)
