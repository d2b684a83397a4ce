# SPDX-License-Identifier: Apache-2.0
"""How a capture is made, in the standard options of a pcapng file's section and interfaces."""

from __future__ import annotations

import contextlib
import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from uspnet.errors import UspnetError
from uspnet.port import Port
from uspnet.ports.pcap import format as pcapfile
from uspnet.ports.pcap.kinds import Slice
from uspnet.ports.pcap.options import SinkOptions
from uspnet.spec import HIDDEN, SECRET, written

CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
TIMEX = struct.Struct(
    "@I4xqqqqi"
)  # of struct timex: modes, offset, freq, maxerror, esterror, status
TIMEX_BYTES = 256  # more than it has
STA_UNSYNC = 0x0040
US = 1e-6
SLICED: dict[Slice, tuple[str, ...]] = {
    Slice.none: (),
    Slice.l4: ("what packets carry behind the header of layer 4",),
}


@dataclass(frozen=True)
class Making:
    """What a job knows about its capture: the command that was typed, the filter's text, how many
    packets a burst has at most, what is left out on purpose, and which way the file goes to disk.
    `each`: the filter's text and the snap length (0: the file's) of each port, where they have
    their own.
    """

    command: str = ""
    only: str = ""
    burst: int = 0
    left_out: tuple[str, ...] = ()
    written: str = ""
    each: tuple[tuple[str, int], ...] = ()

    def snaplen(self, number: int, common: int) -> int:
        """Return the snap length of the port with this number. `common`: the file's."""
        return (self.each[number][1] if self.each else 0) or common


def interfaces(ports: Sequence[Port], making: Making, options: SinkOptions) -> bytes:
    """Return the Interface Description Blocks of ports. Without any there is one, of a file that is
    fed by others.
    """
    snaplen, making = options.snaplen, replace(making, left_out=left_out(making, options))
    if not ports:
        return pcapfile.interface(snaplen, _comments(None, making))
    described = []
    for number, port in enumerate(ports):
        own = replace(making, command="", written="") if number else making
        own = replace(own, only=making.each[number][0] if making.each else making.only)
        described.append(_interface(port, own, making.snaplen(number, snaplen)))
    return b"".join(described)


def done(making: Making, options: SinkOptions) -> list[str]:
    """Return what was done to the packets of a file whose sections and interfaces are copied: these
    are described as they were before. It is shorter than the header, which says it, too.
    """
    only = making.each[0][0] if making.each else making.only
    said = [f"command: {making.command}"] if making.command else []
    said += [f"filter: {only}"] if only else []
    return said + [f"left out: {each}" for each in left_out(making, options)]


def left_out(making: Making, options: SinkOptions) -> tuple[str, ...]:
    """Return what is left out on purpose, beside what a filter rejects."""
    return making.left_out + SLICED[Slice(options.slice)]


def _interface(port: Port, making: Making, snaplen: int) -> bytes:
    options = _comments(port, making)
    options.append((pcapfile.IF_NAME, _bytes(port.name)))
    options.append((pcapfile.IF_DESCRIPTION, _bytes(description(port))))
    with contextlib.suppress(UspnetError):
        if speed := port.link_bps():
            options.append((pcapfile.IF_SPEED, struct.pack("=Q", speed)))
    if making.only:
        options.append((pcapfile.IF_FILTER, b"\0" + _bytes(making.only)[: pcapfile.TEXT_MAX - 1]))
    return pcapfile.interface(snaplen, options)


def _comments(port: Port | None, making: Making) -> list[tuple[int, bytes]]:
    said = [f"command: {making.command}"] if making.command else []
    said += [f"written: {making.written}"] if making.written else []
    said.append(f"times: {times(port, making.burst)}")
    said += [f"left out: {each}" for each in making.left_out]
    return [(pcapfile.COMMENT, _bytes(text)) for text in said]


def description(port: Port) -> str:
    """Return the driver, how the port was reached, and the options that it has, defaults too."""
    sets = [port.options, getattr(getattr(port, "nic", None), "options", None)]
    words: dict[str, str] = {}
    for options in filter(None, sets):
        known = options.known()
        for each in fields(options):
            name, value = each.name.replace("_", "-"), getattr(options, each.name)
            if name in known and value not in ("", None):
                secret = known[name].secret or SECRET.search(name)
                words[name] = HIDDEN if secret else written(value)
    settings = " ".join(f"{name}={value}" for name, value in words.items())
    return "; ".join(filter(None, [f"driver {port.kind}", port.how, settings]))


def times(port: Port | None, burst: int) -> str:
    """Return what the packets' times are, and how exact."""
    if port and port.stamps:
        return port.stamps
    shared = f"of up to {burst} packets, which share it" if burst else "of packets, which share it"
    return f"CLOCK_REALTIME, read once for each burst {shared}, when it was taken; {clock()}"


def clock() -> str:
    """Return what drives the kernel's clock, and how far it may be from the true time."""
    source = "unknown"
    with contextlib.suppress(OSError):
        source = CLOCKSOURCE.read_text().strip()
    told = ctypes.create_string_buffer(TIMEX_BYTES)  # modes 0: only read
    if ctypes.CDLL(None).adjtimex(told) < 0:
        return f"clock source {source}"
    _, _, _, most, _, status = TIMEX.unpack_from(told)
    if status & STA_UNSYNC:
        return f"clock source {source}, not synchronized"
    return f"clock source {source}, synchronized within {most * US:.6f} s"


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")[: pcapfile.TEXT_MAX]
