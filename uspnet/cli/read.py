# SPDX-License-Identifier: Apache-2.0
"""`uspnet read`: look into capture files."""

from __future__ import annotations

import sys

import typer

from uspnet.cli import app
from uspnet.cli import looked as k
from uspnet.cli import options as o
from uspnet.jobs.choices import Times


@app.command()
def read(
    context: typer.Context,
    files: k.Files,
    only: k.Only = None,
    count: o.Count = None,
    times: k.Clocks = Times.r,
    dump: k.Dump = False,
    stats: k.Stats = False,
    burst: k.Burst = False,
    about: k.About = False,
    top: k.Top = 10,
    link: k.Link = None,
    export: k.Export = None,
    json: k.Json = False,
    quiet: k.Quiet = False,
) -> None:
    """Look into capture files: a line for each packet, as Scapy decodes it.

    Of a file that is damaged or cut short, all packets before that are shown or counted, and then
    there is an error.
    """
    wanted = k.wanted(context, stats=stats, burst=burst, about=about, top=top, link=link)
    names, text = k.split(files, only)
    look = k.Looking(names, text, count)
    if export is not None:
        k.export(context, look, export, json=json, quiet=quiet)
    elif wanted:
        k.examine(look, wanted, json=json, quiet=quiet)
    elif quiet:
        look.each(lambda file: file.run())
    else:
        title = len(names) > 1
        look.each(lambda file: k.show(file, times, dump=dump, json=json, title=title), json)
    sys.stdout.flush()
