# SPDX-License-Identifier: Apache-2.0
"""What `fwd --trace` tells: a few lines for each packet."""

from __future__ import annotations

from uspnet.answer import Json
from uspnet.cli.views.units import format_count
from uspnet.packets.summary import ETHERNET, summaries
from uspnet.text import printable

SHOWN = 24  # bytes of a change


def traced(result: Json) -> list[list[str]]:
    """Tell what became of each packet."""
    packets = result.get("traced") or ()
    if not packets:
        return []
    read = summaries([(ETHERNET, bytes.fromhex(each["data"])) for each in packets])
    lines = []
    for number, (each, said) in enumerate(zip(packets, read, strict=True), 1):
        ends = f"{said.source} > {said.destination} {said.protocol} {said.info}"
        head = f"packet {number}, {format_count(each['bytes'])} bytes, from {each['port']}: {ends}"
        lines += [[printable(text)] for text in (head, *(f"  {step}" for step in steps(each)))]
    return lines


def steps(packet: Json) -> list[str]:
    """Say what was found, what was changed, and where the packet went."""
    told = list(packet["steps"])
    for each in packet["rewritten"]:
        before, after = (_shortened(each[name]) for name in ("before", "after"))
        told.append(f"bytes from {each['at']} on, {before}, become {after}")
    if packet["dropped"]:
        told.append(f"dropped: {packet['dropped']}")
    for each in packet["exits"]:
        became = each["became"] if each["became"] in {"sent", "waits"} else None
        told.append(f"{each['port']}: {became or 'dropped: ' + each['became']}")
    return told


def _shortened(text: str) -> str:
    return text if len(text) <= 2 * SHOWN else f"{text[: 2 * SHOWN]}…"
