# SPDX-License-Identifier: Apache-2.0
"""`uspnet read`: look into capture files."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from uspnet.cli import app
from uspnet.cli import looked as k
from uspnet.cli import options as o
from uspnet.jobs.choices import Times


@app.command()
def read(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [FILTER]",
            help="Capture files, pcap or pcapng, compressed or not; -: stdin. The first word that "
            "names no file begins a filter of libpcap's: tcp port 443.",
        ),
    ],
    only: Annotated[
        str | None,
        typer.Option(
            "-f", "--filter", metavar="FILTER", help="The same as one word: -f 'tcp port 443'."
        ),
    ] = None,
    count: o.Count = None,
    times: Annotated[
        Times,
        typer.Option(
            "-t",
            "--times",
            help="Times since the first packet (r) or the one before (d), since 1970 (e), of the "
            "day here (a) or in UTC (u), with the date (ad, ud).",
        ),
    ] = Times.r,
    dump: Annotated[
        bool, typer.Option("-x", "--hex", help="Show the bytes of each packet, too.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a packet.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors only: is the file whole?")
    ] = False,
) -> None:
    """Look into capture files: a line for each packet, as Scapy decodes it.

    Of a file that is damaged or cut short, all packets before that are shown, and then an error.
    """
    names, text = k.split(files, only)
    look = k.Looking(names, text, count)
    if quiet:
        look.each(lambda file: file.run())
        return
    look.each(lambda file: k.show(file, times, dump=dump, json=json, title=len(names) > 1),
              as_json=json)  # fmt: skip
    sys.stdout.flush()
