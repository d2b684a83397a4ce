# SPDX-License-Identifier: Apache-2.0
"""`pcap:` - capture files as ports. `pcap:in.pcapng` is a source, `pcap:out=x.pcapng` a sink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from uspnet.port import Port
from uspnet.ports.pcap.options import SinkOptions
from uspnet.ports.pcap.sink import Sink
from uspnet.ports.pcap.source import Source, SourceOptions
from uspnet.spec import Spec


@dataclass(frozen=True)
class PcapOptions(SinkOptions, SourceOptions):
    """Options of both classes, for help and completion."""


class Pcap(Port, scheme="pcap"):
    """Makes capture files' ports, which are of two classes: `out` makes a Sink, else a Source."""

    help = "capture files: pcap:in.pcapng, pcap:out=x.pcapng"
    unknown: ClassVar[frozenset[str]] = frozenset()
    options = PcapOptions()

    @classmethod
    def of(cls, spec: Spec) -> Port:  # type: ignore[override]
        """Return a Sink for a spec with `out`, else a Source."""
        return Sink(spec) if "out" in spec.given else Source(spec)
