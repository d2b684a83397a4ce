# SPDX-License-Identifier: Apache-2.0
"""read: the packets of a capture file, one by one, as Scapy decodes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from uspnet.answer import Answer
from uspnet.ports.pcap.looking import Look, Seen


@dataclass(frozen=True, kw_only=True)
class PacketAnswer(Answer):
    """A packet. `read --json` prints one such object a line."""

    file: str
    """The name of its file."""
    number: int
    """Its number in the file, from 1 on; packets that a filter rejects count, too."""
    time_ns: int | None
    """Nanoseconds since 1970; null: it has no time."""
    interface: int
    """The number of its interface in the file, from 0 on."""
    length: int
    """Its bytes on the wire, without FCS."""
    captured: int
    """Its bytes in the file."""
    source: str
    """The address that it comes from; empty: none is known."""
    destination: str
    """The address that it goes to; empty: none is known."""
    protocol: str
    """The innermost protocol."""
    info: str
    """What that says, in words."""
    hex: str | None
    """Its bytes in hex digits, with `-x`; else null."""


def packets_of(
    look: Look, *, with_bytes: bool = False
) -> Iterator[list[tuple[PacketAnswer, Seen]]]:
    """Yield the packets of an open file in bursts, decoded. Raises Malformed behind the last whole
    packet of a file that is not whole.
    """
    from uspnet.packets.summary import summaries  # noqa: PLC0415 - Scapy takes a second to import

    for burst in look.packets():
        told = summaries([(each.link_type, each.data) for each in burst])
        yield [
            (
                PacketAnswer(
                    command="read",
                    file=look.label,
                    number=each.number,
                    time_ns=each.time_ns,
                    interface=each.interface,
                    length=each.length,
                    captured=len(each.data),
                    source=said.source,
                    destination=said.destination,
                    protocol=said.protocol,
                    info=said.info,
                    hex=each.data.hex() if with_bytes else None,
                ),
                each,
            )
            for each, said in zip(burst, told, strict=True)
        ]
