# SPDX-License-Identifier: Apache-2.0
"""The options of `pktgen` for what becomes of packets on the way, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import options as o
from uspnet.errors import Usage
from uspnet.ports.registry import make_port

if TYPE_CHECKING:
    from uspnet.jobs.saving import HdrFile
    from uspnet.port import Port

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


@dataclass(frozen=True)
class Measured:
    """Where packets return, whether they carry sequence numbers (None: if they return), and what is
    kept of it.
    """

    rx_port: str | None
    sequence: bool | None
    save: str | None

    @property
    def numbered(self) -> bool:
        """Return whether packets carry sequence numbers."""
        return self.rx_port is not None if self.sequence is None else self.sequence

    def port(self, spec: str, out: Port) -> Port | None:
        """Return the port on which packets return: `out`, if that is it. `spec`: of `out`."""
        if self.rx_port in (None, spec):
            return out if self.rx_port else None
        return make_port(self.rx_port)

    def saved(self) -> HdrFile | None:
        """Return the file that latencies are saved to. Raise Usage."""
        if self.save is None:
            return None
        if self.rx_port is None:
            text = "--save needs --rx-port: latencies are measured there"
            raise Usage(text, "add --rx-port PORT")
        from uspnet.jobs.saving import HdrFile

        return HdrFile(self.save)
