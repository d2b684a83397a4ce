# SPDX-License-Identifier: Apache-2.0
"""Packets from Scapy expressions, without running anything that isn't one.

An expression such as `Ether()/IP(dst="198.18.0.2")/UDP(dport=9)/("x"*18)` is read as a syntax
tree: layers by name, literals, keywords, `/`, `*` and lists. Nothing else is evaluated.
"""

from __future__ import annotations

import ast
from typing import Any

from uspnet.errors import Usage
from uspnet.pool import FRAME_MAX

EXAMPLE = "write it as: Ether()/IP(dst='198.18.0.2')/UDP(sport=1024,dport=9)/('x'*18)"
REPEAT_MAX = 65536
SRC_MAC, DST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"  # pktgen's own


def craft(expression: str, *, numbered: bool = False) -> tuple[bytes, int]:
    """One Ethernet frame of 14 to FRAME_MAX bytes, and how many at its end are mere payload.

    `numbered`: the payload is going to change, so UDP over IPv4 gets no checksum (RFC 768) unless
    the expression sets one. Raises Usage.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise Usage(f"--packet: {error.msg}", EXAMPLE) from None
    except (ValueError, RecursionError) as error:
        raise Usage(f"--packet: {error}", EXAMPLE) from None
    from scapy.packet import Packet  # noqa: PLC0415 - Scapy takes a second to import

    try:
        packet = _value(tree)
        if not isinstance(packet, Packet):
            raise Usage("--packet: the expression is not a packet", EXAMPLE)
        _address(packet)
        if numbered:
            _leave_unchecked(packet)
        frame, payload = bytes(packet), bytes(packet.lastlayer())
        mere = packet.lastlayer().name in {"Raw", "Padding"} and frame.endswith(payload)
    except Usage:
        raise
    except Exception as error:  # noqa: BLE001 - Scapy raises anything
        raise Usage(f"--packet: {error}", EXAMPLE) from None
    if not 14 <= len(frame) <= FRAME_MAX:
        raise Usage(f"--packet: {len(frame)} bytes is not a frame (14 to {FRAME_MAX})", EXAMPLE)
    return frame, len(payload) * mere


def _leave_unchecked(packet: Any) -> None:
    """Sets the UDP checksums that the expression leaves open to none, where none is allowed."""
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415

    for layer in packet.iterpayloads():
        if isinstance(layer, UDP) and isinstance(layer.underlayer, IP):
            layer.fields.setdefault("chksum", 0)


def _address(packet: Any) -> None:
    """Fills in missing MAC addresses: Scapy would send ARP requests to find them out."""
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    for layer in packet.iterpayloads():
        if isinstance(layer, Ether):
            for name, mac in (("dst", DST_MAC), ("src", SRC_MAC)):
                layer.fields.setdefault(name, mac)


def _layer(name: str) -> Any:
    import scapy.layers.all  # noqa: PLC0415
    from scapy.packet import Packet  # noqa: PLC0415

    layer = getattr(scapy.layers.all, name, None)
    if not (isinstance(layer, type) and issubclass(layer, Packet)):
        raise Usage(f"--packet: Scapy has no layer {name!r}", EXAMPLE)
    return layer


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand)
        case ast.BinOp(left, ast.Div(), right):
            return _value(left) / _value(right)
        case ast.BinOp(left, ast.Mult(), right):
            return _repeat(_value(left), _value(right))
        case ast.List(items) | ast.Tuple(items):
            return [_value(item) for item in items]
        case ast.Call(ast.Name(name), items, keywords):
            if not all(word.arg for word in keywords):
                raise Usage("--packet: can't use **", EXAMPLE)
            named = {str(word.arg): _value(word.value) for word in keywords}
            return _layer(name)(*[_value(item) for item in items], **named)
        case _:
            raise Usage(f"--packet: can't use {ast.unparse(node)!r}", EXAMPLE)


def _repeat(left: Any, right: Any) -> Any:
    if not isinstance(right, int) or not isinstance(left, str | bytes):
        raise Usage("--packet: only a text can be repeated, as 'x'*18", EXAMPLE)
    if right * len(left) > REPEAT_MAX:
        raise Usage(f"--packet: {right * len(left)} bytes is too long", EXAMPLE)
    return left * right
