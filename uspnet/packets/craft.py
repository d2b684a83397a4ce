# SPDX-License-Identifier: Apache-2.0
"""Frames from Scapy expressions: one, or one for each combination of the values that fields list,
unless they are so many that a field program plays them.

Everything that Scapy fills in at random is filled in once: frames are made before the first is
sent. No name is looked up and nothing is sent while they are made.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from traceback import walk_tb
from typing import TYPE_CHECKING

from uspnet.errors import Usage
from uspnet.packets.drawn import take_drawn
from uspnet.packets.expression import EXAMPLE, Expression
from uspnet.packets.frames import BYTES_MAX, FRAMES_MAX, Template, mac_bytes
from uspnet.packets.guard import alone, at_most
from uspnet.packets.payload import load_of, made_of, pad
from uspnet.packets.several import combinations, several
from uspnet.packets.turning import FEW, turned
from uspnet.packets.vary.change import Change
from uspnet.pool import FRAME_MAX

if TYPE_CHECKING:
    from scapy.packet import Packet

CRAFT_S, EXPAND_S = 1.5, 30.0  # seconds of processor time: for one frame, for all
SRC_MAC, DST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"  # pktgen's own
NAME = re.compile(r"(^|\.)[g-z-]|\.[a-z]", re.IGNORECASE)  # a label that no address has
OF_VALUES = ("is not in list", "invalid literal", "negative shift")  # Python, of wrong ones
MESSAGE_MAX = 200  # characters of one of Scapy's
PYTHONS = (AttributeError, IndexError, OSError, TypeError, UnicodeError)  # not about packets


def craft(expression: str, size: int | None = None) -> list[Template]:
    """Build the frames of an expression, 14 to FRAME_MAX bytes each, in Scapy's order. `size`:
    length to pad them to with zeros. Raise Usage, also for values that are drawn.
    """
    templates, change = craft_changing(expression, size, turning=False)
    if change.vary:
        raise Usage("--packet: values are drawn for each packet", "use craft_changing()")
    return templates


def craft_changing(
    expression: str, size: int | None = None, *, turning: bool = True
) -> tuple[list[Template], Change]:
    """Build the frames of an expression, as `craft` does. Return, too, what changes in them from
    packet to packet: fields that are drawn, `sport=RandShort()`; and, with `turning`, fields of so
    many values, `dst='10.0.0.0/8'`, that there is no template for each. Raise Usage.
    """
    import scapy.layers.all  # noqa: F401, PLC0415 - takes a second, which is nobody's fault

    read = Expression(expression)
    try:
        return _templates(read, size, turning=turning)
    except Usage as error:
        if error.message.startswith("--packet"):
            raise Usage(error.message, error.hint, read.shown()) from None
        _point(error, read)
        read.point_at_value(error.message)
        raise Usage(f"--packet: {error.message}", error.hint, read.shown()) from None
    except (RecursionError, MemoryError):
        raise Usage("--packet: the expression is nested too deeply", EXAMPLE) from None
    except Exception as error:  # noqa: BLE001 - Scapy raises anything
        raise Usage(f"--packet: {_reason(error, read)}", EXAMPLE, read.shown()) from None


def _templates(
    expression: Expression, size: int | None, *, turning: bool
) -> tuple[list[Template], Change]:
    def build(packet: Packet) -> Template:
        with alone():
            return _template(packet, size, expression)

    with at_most(CRAFT_S, "this packet takes too long to make", "write fewer or simpler layers"):
        with alone():
            packet, drawn = _packet(expression)
        count = combinations(packet)
        found = turned(packet, build) if count > FEW else None
    if found and turning:
        return [found.template], replace(found.change, vary=drawn)
    _check_count(count, turning=turning)
    if found:
        _check_octets(count, count * len(found.template.frame))
        return found.templates(count), Change(drawn)
    with alone():
        return _expanded(packet, count, size, expression), Change(drawn)


def _check_count(count: int, *, turning: bool) -> None:
    """Refuse more packets than can have templates of their own. Raise Usage."""
    if count > FRAMES_MAX:
        raise Usage(
            f"--packet: the fields' values make {count:,} packets, and at most {FRAMES_MAX:,} are"
            " sent in turn",
            "list fewer values; a capture file of any length is sent by: uspnet fwd pcap:FILE PORT"
            if turning
            else "list fewer values, or send it alone: as a stream of a --profile, say",
        )


def _check_octets(count: int, octets: int) -> None:
    if octets > BYTES_MAX:
        raise Usage(f"{count:,} packets of {octets >> 20} MiB are too many", "list fewer values")


def _expanded(
    packet: Packet, count: int, size: int | None, expression: Expression
) -> list[Template]:
    """Return a template of each packet that Scapy makes of one. Raise Usage."""
    packets = islice(iter(packet), FRAMES_MAX)
    with at_most(CRAFT_S, "this packet takes too long to make", "write fewer or simpler layers"):
        made = [_template(next(packets), size, expression)]
    octets = count * len(made[0].frame)
    _check_octets(count, octets)
    with at_most(EXPAND_S, "these packets take too long to make", "list fewer values"):
        for each in packets:
            made.append(_template(each, size, expression))
            octets += len(made[-1].frame) - len(made[0].frame)
            _check_octets(count, octets)
    return made


def _reason(error: Exception, expression: Expression) -> str:
    """Return why Scapy can't use an expression: its own message where that is about packets, else
    the field whose value Python could not use. Point at it in the expression.
    """
    name = _point(error, expression)
    try:
        text = " ".join(str(error).split())
    except ValueError:  # a number too long to be written
        text = ""
    if isinstance(error, ValueError) and text == "substring not found":  # Scapy, of letters
        text = "flags are letters that their field knows, all of one value: flags='SA'"
    elif isinstance(error, KeyError) and text:
        expression.point_at_value(text)
        text = f"{text} does not fit its field"
    elif wrong := re.search(r"Incorrect type of value for field (\w+)", text):
        text = f"the value of {wrong[1]} does not fit its field"
    elif isinstance(error, AttributeError) and text.isidentifier():  # what Scapy says of a field
        expression.point_at_argument(text)
        text = f"no field of its layer is named {text!r}"
    elif isinstance(error, PYTHONS) or any(words in text for words in OF_VALUES):
        text = f"the value of {name or 'a field'} does not fit its field"
    return text[:MESSAGE_MAX] or type(error).__name__


def _point(error: Exception, expression: Expression) -> str:
    """Point at the value that Scapy worked on. Return the name of its field, when the expression
    gives it a value.
    """
    from scapy.fields import Field  # noqa: PLC0415
    from scapy.packet import Packet  # noqa: PLC0415

    layer, name = None, None
    for frame, _ in walk_tb(error.__traceback__):
        owner, field = frame.f_locals.get("self"), frame.f_locals.get("f")
        if isinstance(owner, Packet) and isinstance(field, Field):
            layer, name = owner, field.name if field.name in owner.fields else ""
        elif isinstance(owner, Field) and name is None:
            name = owner.name
    if layer:
        expression.point(layer, name or "")
    return name or ""


def _packet(expression: Expression) -> tuple[Packet, list[str]]:
    """Return what an expression makes, which stands for one packet or several, and what is drawn
    for each.
    """
    from scapy.packet import Packet  # noqa: PLC0415

    packet = expression.evaluate()
    if not isinstance(packet, Packet):
        raise Usage("--packet: the expression is not a packet", EXAMPLE)
    _check_link(packet, expression)
    drawn = take_drawn(packet)
    layers = list(packet.iterpayloads())
    for layer in layers:
        _address(layer, expression)
        _macs(layer, expression)
    for each in several(packet):
        if not each.count():
            expression.point(layers[each.layer], each.name)
            raise Usage(
                "--packet: the fields' values make no packets",
                "write several as [1,3], and a range as (1,3)",
            )
    return packet, drawn


def _check_link(packet: Packet, expression: Expression) -> None:
    """Refuse packets without an Ethernet header: ports carry nothing else."""
    from scapy.config import conf  # noqa: PLC0415
    from scapy.layers.l2 import Dot3, Ether  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    if isinstance(packet, Ether | Dot3 | Raw):  # Raw: all of the frame, written as bytes
        return
    name = type(packet).__name__
    expression.point(packet)
    if type(packet) in conf.l2types.layer2num and name not in ("IP", "IPv6"):
        raise Usage(
            f"--packet: {name} is the link layer of another kind of network", "begin with Ether()"
        )
    raise Usage(f"--packet: {name} is no link layer", f"put one in front: Ether()/{name}(…)")


def _address(layer: Packet, expression: Expression) -> None:
    """Fill in missing MAC addresses, which Scapy would look up in the network. Refuse host names
    that Scapy would read as other addresses. Raise Usage.
    """
    from scapy.layers.l2 import ARP, Dot3, Ether  # noqa: PLC0415

    if isinstance(layer, Ether | Dot3):
        for name, mac in (("dst", DST_MAC), ("src", SRC_MAC)):
            layer.fields.setdefault(name, mac)
    if isinstance(layer, ARP):
        for name in ("psrc", "pdst"):
            if "." in (text := str(layer.fields.get(name, ""))) and NAME.search(text):
                expression.point(layer, name)
                raise Usage(f"{text!r} is a host name", "write its address")


def _macs(layer: Packet, expression: Expression) -> None:
    """Normalize MAC addresses: Scapy reads any other notation as raw bytes. Raise Usage."""
    from scapy.fields import MACField  # noqa: PLC0415
    from scapy.layers.l2 import ARP  # noqa: PLC0415

    ethernet = isinstance(layer, ARP) and layer.hwtype == 1 and layer.hwlen in (None, 6)
    for name, value in layer.fields.items():
        if isinstance(layer.get_field(name), MACField) or (ethernet and name in ("hwsrc", "hwdst")):
            try:
                made = [*map(_mac, value)] if isinstance(value, list) else _mac(value)
            except Usage:
                expression.point(layer, name)
                raise
            layer.fields[name] = made


def _mac(value: object) -> object:
    if value is None or isinstance(value, tuple) or (isinstance(value, bytes) and len(value) == 6):
        return value
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return mac_bytes(text).hex(":")


def _check_bits(layer: Packet, expression: Expression) -> None:
    """Refuse values that Scapy would silently truncate to their field's bits."""
    from scapy.fields import BitEnumField, BitField, FlagsField, ThreeBytesField  # noqa: PLC0415

    for name, value in layer.fields.items():
        field = layer.get_field(name)
        field = getattr(field, "fld", field)  # of one that is there under a condition
        bits = 24 if isinstance(field, ThreeBytesField) else 0
        if isinstance(field, BitField | BitEnumField | FlagsField):
            bits = field.size
        if bits and hasattr(value, "__int__") and not 0 <= int(value) < 1 << bits:
            expression.point(layer, name)
            raise Usage(
                f"{name}={int(value)} does not fit into the {bits} bits of its field",
                f"give {name} a value of 0 to {(1 << bits) - 1:,}",
            )


def _template(packet: Packet, size: int | None, expression: Expression) -> Template:
    """Return one packet's frame, padded to `size` bytes. Raise Usage."""
    from scapy.layers.l2 import Ether  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    for layer in packet.iterpayloads():
        _check_bits(layer, expression)
        if isinstance(layer, Raw) and isinstance(layer.load, str):  # one of a list
            layer.load = layer.load.encode()
    frame = bytes(packet)
    if isinstance(packet, Raw) and bytes(read := Ether(frame)) == frame:
        packet = read  # so that its checksums are known
    if size is not None:
        packet, frame = pad(packet, frame, size)
    if not 14 <= len(frame) <= FRAME_MAX:
        raise Usage(f"--packet: {len(frame):,} bytes is not a frame (14 to {FRAME_MAX})", EXAMPLE)
    _, load = load_of(packet)
    payload = len(load) if frame.endswith(load) else 0
    return made_of(packet, frame, payload)
