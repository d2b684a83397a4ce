# SPDX-License-Identifier: Apache-2.0
"""The options of `pktgen` for what becomes of packets on the way, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import options as o
from uspnet.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uspnet.jobs.saving import Files, SavedFile
    from uspnet.packets.answering import AnswerNet
    from uspnet.port import Port
    from uspnet.ports.pcap.sink import Sink

RxPort = Annotated[
    str | None,
    typer.Option(
        "--rx-port",
        metavar="PORT",
        help="Port on which the packets return; loss and latency are measured there.",
    ),
]
Sequence = Annotated[
    bool | None,
    typer.Option(
        "--sequence/--no-sequence",
        help="Write a sequence number and a time stamp into the last 18 bytes of each packet's "
        "payload; on with --rx-port.",
    ),
]
Save = Annotated[
    str | None,
    typer.Option(
        "--save",
        metavar="FILE",
        callback=o.file_name,
        help="Save the latencies that --rx-port measures as a log of HdrHistogram, which its tools "
        "read: logs of several runs merge exactly.",
    ),
]
Answer = Annotated[
    list[str] | None,
    typer.Option(
        "--answer",
        metavar="NET[@MAC]",
        help="Answer ARP requests and neighbor solicitations for addresses of this network, "
        "10.0.0.0/16 or 2001:db8::/64, on --rx-port, or without one on PORT, so that a router "
        "forwards to them; with this MAC address, or else with the first packet's source, or with "
        "--replay that of --src-mac. "
        "10.0.0.0/16,-10.0.0.1 leaves out the router's own. May be given several times.",
    ),
]

PlotOption = Annotated[
    str | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        callback=o.file_name,
        help="Draw the latencies that --rx-port measures, by percentile, as an image whose name "
        "ends in .svg, or .png (which needs uspnet[plot]); -: as bars in the summary, which "
        "terminals get anyway.",
    ),
]
Lost = Annotated[
    str | None,
    typer.Option(
        "--lost",
        metavar="FILE",
        callback=o.file_name,
        help="Write the packets that never came back on --rx-port to this pcapng file: as they "
        "were sent, in order, with the time at which each was sent.",
    ),
]

PerFlow = Annotated[
    bool,
    typer.Option(
        "--per-flow",
        help="Count what --rx-port receives out of order within each flow, too: several queues of "
        "a device may reorder packets of different flows, but not those of one.",
    ),
]


@dataclass(frozen=True)
class Measured:
    """Where packets return, whether they carry sequence numbers (None: if they return), what is
    kept of it, for which addresses questions are answered there, and whether order is measured
    within each flow, too.
    """

    rx_port: str | None
    sequence: bool | None
    save: str | None
    plot: str | None
    answer: list[str] | None = None
    lost: str | None = None
    per_flow: bool = False

    @property
    def numbered(self) -> bool:
        """Return whether packets carry sequence numbers."""
        return self.rx_port is not None if self.sequence is None else self.sequence

    def port(self, outs: Mapping[str, Port]) -> Port | None:
        """Return the port on which packets return, which may be one of `outs`, by their specs."""
        if self.rx_port is None or self.rx_port in outs:
            return outs[self.rx_port] if self.rx_port else None
        from uspnet.ports.registry import make_port

        return make_port(self.rx_port)

    def files(self, what: str) -> Files:
        """Return the files that are written; `what`: pktgen's, in a plot's title. Raise Usage."""
        from uspnet.jobs.saving import Files

        return Files(self._latencies(f"uspnet pktgen {what}"), self._lost())

    def _latencies(self, title: str) -> list[SavedFile]:
        """Return the files that latencies are saved to, and plotted under a title. Raise Usage."""
        given = {"--save": self.save, "--plot": self.plot}
        for name in (name for name, path in given.items() if path and self.rx_port is None):
            text = f"{name} needs --rx-port: latencies are measured there"
            raise Usage(text, "add --rx-port PORT")
        if self.plot == "-" and not self.numbered:
            text = "--plot -: latencies are measured where packets with sequence numbers return"
            raise Usage(text, "drop --no-sequence")
        from uspnet.jobs.saving import HdrFile, PlotFile

        files: list[SavedFile] = [HdrFile(self.save)] if self.save else []
        return [*files, PlotFile(self.plot, title)] if self.plot not in (None, "-") else files

    def answers(self) -> list[AnswerNet]:
        """Return the addresses for which questions are answered. Raise Usage."""
        if not self.answer:
            return []
        from uspnet.packets.answering import read_answers

        return read_answers(self.answer)

    def _lost(self) -> Sink | None:
        """Return the file that lost packets are written to. Raise Usage."""
        if self.lost is None:
            return None
        if self.lost == "-":
            text = "--lost: lost packets go to a file, not to stdout"
            raise Usage(text, "name one: --lost lost.pcapng")
        if self.rx_port is None:
            text = "--lost needs --rx-port: what never came back there is lost"
            raise Usage(text, "add --rx-port PORT")
        from uspnet.jobs.capture import make_sink

        return make_sink(self.lost)
