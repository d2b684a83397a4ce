# SPDX-License-Identifier: Apache-2.0
"""`uspnet plot`."""

from __future__ import annotations

from typing import Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o


@app.command()
def plot(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Logs of HdrHistogram, as pktgen --save writes; -: stdin."
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="IMAGE",
            callback=o.file_name,
            help="Draw them into one image, whose name ends in .svg, or .png (which needs "
            "uspnet[plot]).",
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Show latencies that runs have saved, by percentile, and draw them.

    A log of several intervals or runs counts as one. Values are taken for nanoseconds, as pktgen
    writes them.
    """
    from uspnet.cli.views.console import print_json, show_lines
    from uspnet.cli.views.returned import latencies
    from uspnet.cli.views.units import format_count
    from uspnet.jobs.plotting import plot_logs

    done = plot_logs(files, output)
    if json:
        print_json(done.as_json())
        return
    for log in done.logs:
        told = [f"{format_count(log.packets)} packets", *latencies(log.latency_ns or {})]
        show_lines([f"{log.file}  {', '.join(told)}"])
    if done.written is not None:
        show_lines([f"wrote {done.written}"])
