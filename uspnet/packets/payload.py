# SPDX-License-Identifier: Apache-2.0
"""Payloads and checksums of Scapy's packets: other bytes, other sizes, checksums made anew."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.packets.frames import Template
from uspnet.packets.guard import alone

if TYPE_CHECKING:
    from scapy.packet import Packet

CHECKSUMS = ("chksum", "cksum", "checksum")


def made_of(packet: Packet, frame: bytes, payload: int) -> Template:
    """Return the template of a packet that is `frame` on the wire; its last bytes are payload."""
    return Template(frame, payload, partial(rebuild, packet, len(frame) - payload), lambda: packet)


def rebuild(packet: Packet, start: int, at: int, data: bytes) -> bytes:
    """Return the packet's frame with `data` at offset `at`; the payload starts at `start`."""
    name, load = load_of(packet)
    last, inside = packet.lastlayer(), at - start
    with alone():
        loosen(packet)
        try:
            setattr(last, name, load[:inside] + data + load[inside + len(data) :])
            return bytes(packet)
        finally:
            setattr(last, name, load)


def load_of(packet: Packet) -> tuple[str, bytes]:
    """Return the last layer's payload field and its bytes; empty if it has none."""
    last = packet.lastlayer()
    name = {"Raw": "load", "Padding": "load", "SCTPChunkData": "data"}.get(type(last).__name__)
    value = getattr(last, name) if name else b""
    return name or "", value if isinstance(value, bytes) else b""


def pad(packet: Packet, frame: bytes, size: int) -> tuple[Packet, bytes]:
    """Append zeros to the payload and recompute lengths and checksums. Raise Usage."""
    from scapy.packet import Raw  # noqa: PLC0415

    missing, (name, load) = size - len(frame), load_of(packet)
    if missing < 0:
        raise Usage(
            f"--packet makes {len(frame)} bytes, more than --size {size}",
            f"--size {len(frame)}, or a shorter payload",
        )
    if missing and name:
        setattr(packet.lastlayer(), name, load + bytes(missing))
    elif missing:
        packet.lastlayer().add_payload(Raw(bytes(missing)))
    padded = bytes(packet)
    if len(padded) != size:
        raise Usage(
            f"--packet can't be made {size} bytes long by --size",
            "leave --size out, and add a payload to --packet: /('x'*18)",
        )
    return packet, padded


def loosen(packet: Packet) -> None:
    """Recompute correct checksums that the expression wrote out whenever the payload changes."""
    written = [
        (layer, name)
        for layer in packet.iterpayloads()
        for name in CHECKSUMS
        if layer.fields.get(name) is not None
    ]
    if not written:
        return
    frame = bytes(packet)
    for layer, name in written:
        kept = layer.fields.pop(name)
        packet.clear_cache()
        if bytes(packet) != frame:
            layer.fields[name] = kept
