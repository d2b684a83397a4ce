# SPDX-License-Identifier: Apache-2.0
"""`pcap:` - capture files as ports. `pcap:in.pcapng` is a source, `pcap:out=x.pcapng` a sink."""

from __future__ import annotations

from typing import ClassVar

from uspnet.fastpath import c
from uspnet.port import Direction, Port
from uspnet.ports.pcap.sink import Sink
from uspnet.ports.pcap.source import Source
from uspnet.spec import Option, Spec


class Pcap(Port, scheme="pcap"):
    """What the registry knows; a spec with `out` makes a Sink, any other a Source."""

    help = "capture files: pcap:in.pcapng, pcap:out=x.pcapng"
    unknown: ClassVar[frozenset[str]] = frozenset()
    options: ClassVar[dict[str, Option]] = {**Source.options, **Sink.options}

    def __new__(cls, spec: Spec) -> Port:  # type: ignore[misc]
        """Picks the class by direction."""
        return Sink(spec) if "out" in spec.given else Source(spec)

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Never called: there are no instances."""
        raise NotImplementedError
