# SPDX-License-Identifier: Apache-2.0
"""plot: latencies that runs have saved, by percentile."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.errors import Malformed, Usage
from uspnet.jobs.histogram import quantiles
from uspnet.jobs.saving import PlotFile
from uspnet.ports.pcap.format import file_error
from uspnet.telemetry.hdr_read import read_log
from uspnet.telemetry.plot import Line

TITLE = "Latency by percentile"
LOG_MAX = 256 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class SavedLatencies:
    """The latencies of one file."""

    file: str
    """Its name."""
    packets: int
    """Packets counted in it."""
    latency_ns: dict[str, int] | None
    """Latencies in nanoseconds: `p50`, `p90`, `p99`, `p999`, `max`; null: there are none."""


@dataclass(frozen=True, kw_only=True)
class PlotAnswer(Answer):
    """What `plot` has read, and drawn."""

    logs: tuple[SavedLatencies, ...]
    """The files, in the order of the command line."""
    written: str | None
    """The image; null: none was asked for."""


class LogPlot(PlotFile):
    """The image that `plot -o` names."""

    option = "-o"


def plot_logs(files: Sequence[str], image: str | None, title: str = TITLE) -> PlotAnswer:
    """Read logs of HdrHistogram and draw them into one image. Raises Malformed, Usage, and as the
    system calls do.
    """
    if [*files].count("-") > 1:
        raise Usage("-: stdin can be read once", "drop one of them")
    drawing = LogPlot(image, title) if image else None
    lines = [Line(name, read_log(name, _text(name))) for name in files]
    if drawing:
        try:
            drawing.open()
            drawing.draw(lines, title)
        finally:
            drawing.close()
    logs = [
        SavedLatencies(
            file=line.name,
            packets=line.total,
            latency_ns=quantiles(line.counts) if line.counts else None,
        )
        for line in lines
    ]
    return PlotAnswer(command="plot", logs=tuple(logs), written=image)


def _text(name: str) -> str:
    """Return what a file holds; `-` is stdin."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(LOG_MAX + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(LOG_MAX + 1)
    except OSError as error:
        raise file_error(name, error) from None
    if len(data) > LOG_MAX:
        raise Malformed(f"{name}: longer than {LOG_MAX >> 20} MiB", "give a log, not its packets")
    return data.decode(errors="replace")
