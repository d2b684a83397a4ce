# SPDX-License-Identifier: Apache-2.0
"""Options of `capture` that leave out a part of it on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.errors import Usage
from uspnet.ports.pcap.kinds import Slice
from uspnet.spec import Values

if TYPE_CHECKING:
    from uspnet.jobs.less import Dedup, First, Less
    from uspnet.jobs.result import CaptureResult

Dedup_ = Annotated[
    str | None,
    typer.Option(
        "--dedup",
        metavar="TIME",
        help="Capture no packet that has the same bytes as one within TIME before, such as those "
        "of a SPAN port: they are dropped as duplicate. 50ms,ignore=ttl,mac: whatever the time to "
        "live, with its checksum, and the MAC addresses are; packets=N: how many are known at "
        "once.",
    ),
]
First_ = Annotated[
    str | None,
    typer.Option(
        "--first",
        metavar="N/flow",
        help="Capture only the first N packets of each flow, or its first bytes: 64/flow, "
        "16KiB/flow. Both directions are one flow. Others are dropped as beyond_first. "
        "64/flow,idle=TIME: a flow that was silent for so long has ended (default: 5 m; 0: none "
        "has); flows=N: how many are known at once (default: 262,144).",
    ),
]
Slice_ = Annotated[
    Slice,
    typer.Option(
        "--slice",
        help="Write only the headers of each packet, up to that of layer 4 (TCP, UDP, ICMP, …).",
    ),
]
FIRST_HINT = "write packets or bytes of each flow: 64/flow, or 16KiB/flow"
FIRST_MORE: Mapping[str, Callable[[str], object]] = {
    "idle": units.time_between(0, 86400 * 365),
    "flows": units.whole(1, 1 << 24),
}
DEDUP_MORE: Mapping[str, Callable[[str], object]] = {
    "ignore": lambda text: tuple(text.split(",")),
    "packets": units.whole(1, 1 << 27),
}


def more(option: str, texts: list[str], readers: Mapping[str, Callable[[str], object]]) -> Values:
    """Read what follows a value: `idle=10s`. Raises Usage."""
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in readers:
            known = ", ".join(f"{each}=" for each in readers)
            raise Usage(f"{option}: {text[:40]!r} is none of its options", f"there are: {known}")
        if name in found:
            raise Usage(f"{option}: {name}= is given twice", "drop one of them")
        try:
            found[name] = readers[name](value)
        except units.Unreadable as error:
            raise Usage(f"{option}: {text[:40]!r}: {error}", error.hint) from None
    return found


def _amount(text: str) -> tuple[int, bool]:
    """Read packets, or bytes. Return which it is, too. Raises Unreadable."""
    by_bytes = text.strip().lower().endswith(("b", "byte", "bytes"))
    return (units.octets if by_bytes else units.count)(text), by_bytes


def first_of(text: str) -> First:
    """Read `--first`. Raises Usage."""
    from uspnet.jobs.less import First

    amount, *rest = text.split(",")
    number, slash, unit = amount.partition("/")
    try:
        if not slash or unit != "flow":
            raise units.Unreadable("does not say of what")
        limit, by_bytes = _amount(number)
    except units.Unreadable as error:
        raise Usage(f"--first {text[:40]!r}: {error}", FIRST_HINT) from None
    return First(limit, by_bytes, **more("--first", rest, FIRST_MORE))


def dedup_of(text: str) -> Dedup:
    """Read `--dedup`. Raises Usage."""
    from uspnet.jobs.less import WINDOW_MAX_S, WINDOW_MIN_S, Dedup

    window, *rest = text.split(",")
    words: list[str] = []
    for each in rest:  # what follows ignore= is a list
        if "=" not in each and words and words[-1].startswith("ignore="):
            words[-1] += f",{each}"
        else:
            words.append(each)
    try:
        seconds = units.time_between(WINDOW_MIN_S, WINDOW_MAX_S)(window)
    except units.Unreadable as error:
        raise Usage(f"--dedup {text[:40]!r}: {error}", error.hint) from None
    return Dedup(seconds, **more("--dedup", words, DEDUP_MORE))


def less_of(dedup: str | None, first: str | None) -> Less:
    """Return what is to be left out. Raises Usage."""
    from uspnet.jobs.less import Less

    return Less(
        dedup_of(dedup) if dedup is not None else None,
        first_of(first) if first is not None else None,
    )


def wanted(result: CaptureResult) -> int:
    """Return the packets that arrived and were not left out on purpose."""
    from uspnet.ports.pcap.statistics import LEFT_OUT

    return result.received - result.filtered - sum(result.drops.get(name, 0) for name in LEFT_OUT)
