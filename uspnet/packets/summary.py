# SPDX-License-Identifier: Apache-2.0
"""Packets in a line each, as Scapy reads them: who sends what to whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.packets.guard import alone

if TYPE_CHECKING:
    from scapy.packet import Packet

ETHERNET = 1
FILLING = ("Raw", "Padding", "NoPayload")  # layers that stand for bytes alone
SHORT = {"Ether": "Ethernet", "Dot3": "802.3", "Dot1Q": "VLAN", "IPv6": "IPv6"}
ADDRESSES = ("IPv6", "IP", "ARP", "Ether", "Dot3")  # of the last of the first that there is
INFO_MAX = 300  # characters
QUOTED = re.compile(r"\bb'([^']*)'")  # bytes as Python writes them


@dataclass(frozen=True)
class Summary:
    """What a line says of a packet; source and destination are empty where it has none."""

    source: str
    destination: str
    protocol: str
    info: str


def summaries(packets: list[tuple[int, bytes]]) -> list[Summary]:
    """Return what Scapy reads in packets: link types, and bytes."""
    import scapy.layers.all  # noqa: F401, PLC0415 - takes a second; knows what layers follow others

    with alone():
        return [_summary(link_type, data) for link_type, data in packets]


def _summary(link_type: int, data: bytes) -> Summary:
    if not data:
        return Summary("", "", "", "no bytes")
    packet = _read(link_type, data)
    layers = [each for each in _layers(packet) if type(each).__name__ not in FILLING]
    if not layers:
        return Summary("", "", "data", f"{len(data)} bytes")
    source, destination = _ends(layers)
    info = QUOTED.sub(r"\1", _info(layers)[:INFO_MAX])
    return Summary(source, destination, _name(layers[-1]), " ".join(info.split()))


def _read(link_type: int, data: bytes) -> Packet:
    from scapy.config import conf  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    kind: type[Packet] = (
        Ether if link_type == ETHERNET else conf.l2types.num2layer.get(link_type, Raw)
    )
    try:
        packet: Packet = kind(data)
    except Exception:  # noqa: BLE001 - whatever a dissector makes of a stranger's bytes
        return Raw(data)
    return packet


def _layers(packet: Packet) -> list[Packet]:
    found, each = [], packet
    while each and type(each).__name__ != "NoPayload":
        found.append(each)
        each = each.payload
    return found


def _name(layer: Packet) -> str:
    name = type(layer).__name__
    if name.startswith("ICMPv6"):
        return "ICMPv6"
    return SHORT.get(name, str(layer.name) if len(str(layer.name)) <= len(name) else name)


def _ends(layers: list[Packet]) -> tuple[str, str]:
    """Return the addresses of the innermost layer that has some people know."""
    for wanted in ADDRESSES:
        for layer in reversed(layers):
            if type(layer).__name__ == wanted:
                names = ("psrc", "pdst") if wanted == "ARP" else ("src", "dst")
                return str(getattr(layer, names[0])), str(getattr(layer, names[1]))
    return "", ""


def _info(layers: list[Packet]) -> str:
    """Return what the innermost layer says, and the ports around it."""
    last = layers[-1]
    match type(last).__name__:
        case "TCP":
            flags = str(last.flags) or "."
            said = f"[{flags}] seq={last.seq} ack={last.ack} win={last.window}"
            return f"{last.sport} > {last.dport} {said} len={len(last.payload)}"
        case "UDP":
            return f"{last.sport} > {last.dport} len={len(last.payload)}"
    return next(filter(None, map(_said, reversed(layers))), str(last.name))


def _said(layer: Packet) -> str:
    try:
        said: object = layer.mysummary()
    except Exception:  # noqa: BLE001 - as above
        return ""
    return str(said[0] if isinstance(said, tuple) else said)
