# SPDX-License-Identifier: Apache-2.0
"""`read`: which words are files, and which a filter; files one after the other."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import options as o
from uspnet.errors import Usage, UspnetError
from uspnet.jobs.choices import Times

if TYPE_CHECKING:
    from uspnet.jobs.reading.examine import Wanted
    from uspnet.ports.pcap.looking import Look

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE... [FILTER]",
        help="Capture files, pcap or pcapng, compressed or not; -: stdin. The first word that "
        "names no file begins a filter of libpcap's: tcp port 443.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "-f", "--filter", metavar="FILTER", help="The same as one word: -f 'tcp port 443'."
    ),
]
Clocks = Annotated[
    Times,
    typer.Option(
        "-t",
        "--times",
        help="Times since the first packet (r) or the one before (d), since 1970 (e), of the day "
        "here (a) or in UTC (u), with the date (ad, ud).",
    ),
]
Dump = Annotated[bool, typer.Option("-x", "--hex", help="Show the bytes of each packet, too.")]
Stats = Annotated[
    bool,
    typer.Option(
        "--stats", help="Show what the packets add up to: rates, sizes, losses, the largest flows."
    ),
]
Burst = Annotated[
    bool,
    typer.Option(
        "--burst",
        help="Show how packets came in bursts: the peaks over 10 us to 1 s and what was in them, "
        "and the longest burst.",
    ),
]
About = Annotated[
    bool,
    typer.Option("--about", help="Show what a file says of itself: how it was made, and losses."),
]
Top = Annotated[
    int,
    typer.Option(
        "--top", metavar="N", parser=units.whole(0, 1000), help="Name up to N flows, 0 to 1000."
    ),
]
Link = Annotated[
    float | None,
    typer.Option(
        "--link",
        metavar="RATE",
        parser=units.bit_rate,
        help="With --burst: show the queue that these packets need before a link, such as 10G.",
    ),
]
Export = Annotated[
    str | None,
    typer.Option(
        "--export",
        metavar="FILE.parquet",
        callback=o.file_name,
        help="Write what the packets' headers say as a table, which DuckDB and others read. Needs "
        "uspnet[query].",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object a packet; else, one object at the end."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only: is the file whole?")]
OF_LINES = {"times": "-t", "dump": "-x"}  # parameters that concern lines of packets
OF_SUMS = {"stats": "--stats", "burst": "--burst", "about": "--about"}

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
    is_over: bool = False  # somebody wants no more files

    def __post_init__(self) -> None:
        if self.only is not None:
            from uspnet.packets.filter import check_filter

            check_filter(self.only)

    def each(self, call: Callable[[Look], None], as_json: bool = False) -> None:
        """Open one file after the other. Raises the last error; those before are told."""
        from uspnet.cli.failure import tell
        from uspnet.ports.pcap.looking import Look

        failed: UspnetError | None = None
        left = self.count
        for name in self.files:
            if left == 0 or self.is_over:
                break
            try:
                with Look(name, self.only, left) as file:
                    try:
                        call(file)
                    finally:
                        left = file.left if left is not None else None
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


def wanted(
    context: typer.Context, *, stats: bool, burst: bool, about: bool, top: int, link: float | None
) -> Wanted | None:
    """Return what is to be told of files instead of their packets; None: nothing. Raises Usage."""
    if link is not None and not burst:
        raise Usage("--link needs --burst", "add --burst, or drop --link")
    if not (stats or burst or about):
        if o.was_given(context, "top"):
            raise Usage("--top needs --stats or --burst", "add one of them, or drop --top")
        return None
    for name, option in OF_LINES.items():
        if o.was_given(context, name):
            raise Usage(f"{option} is for lines of packets", f"drop {option}")
    from uspnet.jobs.reading.examine import Wanted

    return Wanted(stats, burst, about, top, link)


def examine(look: Looking, wanted: Wanted, *, json: bool, quiet: bool) -> None:
    """Print what is found in the files. Raises the last error, behind what was found."""
    from uspnet.cli.ending import until_interrupted
    from uspnet.cli.views.console import print_json
    from uspnet.cli.views.examined import show_file
    from uspnet.jobs.reading.answer import FileAnswer, ReadAnswer
    from uspnet.jobs.reading.examine import Examination

    found: list[FileAnswer] = []

    def one(file: Look) -> None:
        examination = Examination(file, wanted)
        try:
            with until_interrupted() as came:
                examination.run()
            look.is_over = bool(came)
        finally:
            found.append(examination.answer())
            if not (json or quiet):
                show_file(found[-1])

    try:
        look.each(one)
    except UspnetError as error:
        error.partial = ReadAnswer(command="read", files=tuple(found)).as_json()
        raise
    if json:
        print_json(ReadAnswer(command="read", files=tuple(found)).as_json())


def export(context: typer.Context, look: Looking, path: str, *, json: bool, quiet: bool) -> None:
    """Write the packets of all files into a table. Raises Usage, and the last error, behind what
    could be read.
    """
    from uspnet.cli.views.console import print_json, show_lines
    from uspnet.jobs.reading.export import Export

    for name, option in {**OF_LINES, **OF_SUMS}.items():
        if o.was_given(context, name):
            raise Usage(f"{option} conflicts with --export", f"drop {option}")
    table, failed = Export(path, look.files), True
    try:
        look.each(table.add)
        failed = False
    except UspnetError as error:
        error.partial = table.answer().as_json()
        raise
    finally:
        table.close(failed=failed)
    if json:
        print_json(table.answer().as_json())
    elif not quiet:
        show_lines([f"wrote {path}: {table.packets:,} packets"])
