# SPDX-License-Identifier: Apache-2.0
"""Frames that exist already, as templates: what Scapy reads in them can vary and be made longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.packets.frames import FRAME_MIN, Template
from uspnet.packets.guard import alone, at_most
from uspnet.packets.payload import load_of, made_of, pad
from uspnet.pool import FRAME_MAX

if TYPE_CHECKING:
    from scapy.packet import Packet

READ_S = 60.0  # seconds of processor time for all frames


@dataclass(frozen=True)
class Given:
    """Frames to send in turn, what messages call them, and how often each is sent in proportion to
    others.
    """

    name: str
    frames: Sequence[bytes]
    weight: int = 1


def templates_of(given: Given, size: int | None, *, alike: bool = False) -> list[Template]:
    """Return the templates of frames, padded to `size` bytes. `alike`: they are sent as they are,
    and Scapy need not read them. Raise Usage.
    """
    for number, frame in enumerate(given.frames, 1):
        if not 14 <= len(frame) <= FRAME_MAX:
            text = f"{given.name}: packet {number}: {len(frame):,} bytes is not a frame"
            raise Usage(f"{text} (14 to {FRAME_MAX})", "leave it out: editcap FILE NEW.pcapng N")
    if alike and size is None:
        return [Template(frame, 0, _fixed) for frame in given.frames]
    import scapy.layers.all  # noqa: F401, PLC0415 - takes a second; knows what layers follow others

    text, hint = f"{given.name}: too many packets to read within {READ_S:g} s", "give fewer"
    with at_most(READ_S, text, hint), alone():
        return [_template(given.name, n, f, size) for n, f in enumerate(given.frames, 1)]


def _fixed(_at: int, _data: bytes) -> bytes:
    raise Usage("packets that are sent as they are can't change", "make them with read_back()")


def _template(name: str, number: int, frame: bytes, size: int | None) -> Template:
    packet = read_back(frame)
    if size is not None:
        try:
            packet, frame = pad(*_unpadded(packet, frame), size)
        except Usage as error:
            which = f"{name}: packet {number}"
            raise Usage(error.message.replace("--packet", which, 1), error.hint) from None
    _, load = load_of(packet)
    return made_of(packet, frame, len(load) if frame.endswith(load) else 0)


def _unpadded(packet: Packet, frame: bytes) -> tuple[Packet, bytes]:
    """Return a packet without the bytes that made it as long as Ethernet's shortest frame."""
    last, lower = packet.lastlayer(), packet.lastlayer().underlayer
    if type(last).__name__ != "Padding" or lower is None or len(frame) > FRAME_MIN:
        return packet, frame
    lower.remove_payload()
    packet.clear_cache()
    return packet, bytes(packet)


def read_back(frame: bytes) -> Packet:
    """Return the packet that is `frame` on the wire: lengths and checksums that are right in it are
    computed anew whenever it changes. Upper layers that Scapy would write otherwise are bytes.
    """
    from scapy.layers.l2 import Ether  # noqa: PLC0415 - Scapy takes a second to import
    from scapy.packet import Raw  # noqa: PLC0415

    packet: Packet = Ether(frame)
    layers = list(packet.iterpayloads())
    while not _loosened(packet, frame) and len(layers) > 1:
        data, lower = layers.pop().original, layers[-1]
        lower.remove_payload()
        lower.add_payload(Raw(data))
    return packet


def _loosened(packet: Packet, frame: bytes) -> bool:
    """Have Scapy compute what it would compute right. Return whether the frame stays the same."""
    written = [
        (layer, each.name, layer.fields[each.name])
        for layer in packet.iterpayloads()
        for each in layer.fields_desc
        if each.default is None and isinstance(layer.fields.get(each.name), int)  # no address
    ]
    for layer, name, _ in written:
        del layer.fields[name]
    if _is(packet, frame):
        return True
    for layer, name, value in written:
        layer.fields[name] = value
    if not _is(packet, frame):
        return False
    for layer, name, value in written:
        del layer.fields[name]
        if not _is(packet, frame):
            layer.fields[name] = value
    return _is(packet, frame)


def _is(packet: Packet, frame: bytes) -> bool:
    packet.clear_cache()
    try:
        return bytes(packet) == frame
    except Usage:
        raise
    except Exception:  # noqa: BLE001 - Scapy raises anything
        return False
