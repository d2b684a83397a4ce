# SPDX-License-Identifier: Apache-2.0
"""Numbers as people write them: counts `1M`, times `1h30m`, rates `10Gbit/s`, shares `0.1%`.

Every reader raises Unreadable, which says what is wrong with the text and shows texts that work.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

NUMBER = r"([0-9](?:[0-9_]*[0-9])?(?:\.[0-9]+)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?"
COUNT = re.compile(NUMBER + r"\s*([kmgt]?)", re.IGNORECASE)
HEX = re.compile(r"0x[0-9a-f]+", re.IGNORECASE)
DURATION = re.compile(
    NUMBER + r"\s*(ns|us|µs|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d)?", re.IGNORECASE
)
RATE = re.compile(NUMBER + r"\s*([kmgt]?)(pps|p/s|bps|bits?/s|b/s|bits?)?", re.IGNORECASE)
PERCENT = re.compile(NUMBER + r"\s*%", re.IGNORECASE)
BYTES = re.compile(r"(B|[Bb]yte)s?(ps|/s)?$")
SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
TIMES = {
    "d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1),
    "ms": Decimal("1e-3"), "us": Decimal("1e-6"), "µs": Decimal("1e-6"), "ns": Decimal("1e-9"),
}  # fmt: skip
SHARE_HINT = "write a percentage, such as 0.1%"
UNIT_FROM = 1e8  # a rate this high needs a unit: as packets it is 7 times what a 10G link carries
OCTETS = re.compile(NUMBER + r"\s*(?:([kmgt])(i?))?(b|bytes?)?", re.IGNORECASE)
OCTETS_HINT = "write 64MiB or 1GiB"
L1 = ":l1"  # behind bits a second: on layer 1
RATE_HINT = "write 1.5Mpps, 100Mbit/s, 10Gbps:l1, 25% or max"
BIT_RATE_HINT = "write 10G or 2.5Gbps"


class Unreadable(ValueError):
    """A text that is not what it should be: `not a time`, say. `hint` shows texts that are."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True)
class Rate:
    """A rate as it was written: packets a second, bits a second on layer 2 (bps) or layer 1 (l1),
    or a percentage of a link's.
    """

    value: float
    unit: Literal["pps", "bps", "l1", "%", "max"]


def _number(digits: str, exponent: str | None) -> Decimal:
    return Decimal(digits.replace("_", "") + (exponent or ""))


def count(text: str | int) -> int:
    """Read a whole number: `1000`, `1_000`, `1k`, `1.5M`, `1e6` or `0x40`. Raise Unreadable."""
    if isinstance(text, int):  # a default
        return text
    text = text.strip()
    if HEX.fullmatch(text):
        return int(text, 16)
    sign, text = (-1, text[1:]) if text.startswith("-") else (1, text)
    match = COUNT.fullmatch(text)
    value = _number(match[1], match[2]) * SCALES[match[3].lower()] if match else Decimal("0.5")
    if value != value.to_integral_value():
        raise Unreadable("not a whole number", "write 1000, 1k, 1M or 1e6")
    return sign * int(value)


def whole(low: int, high: int) -> Callable[[str | int], int]:
    """Make a reader of whole numbers from `low` to `high`."""

    def read(text: str | int) -> int:
        value = count(text)
        if value < low:
            raise Unreadable(f"too small: at least {low:,}")
        if value > high:
            raise Unreadable(f"too large: at most {high:,}")
        return value

    return read


def octets(text: str) -> int:
    """Read a size in bytes: `64MiB`, `1GiB`, `500MB` or `64kB`. Raise Unreadable."""
    match = OCTETS.fullmatch(text.strip())
    if not match or not (match[3] or match[5]):
        raise Unreadable("not a size", OCTETS_HINT)
    power = " kmgt".index((match[3] or " ").lower())
    return int(_number(match[1], match[2]) * (1024 if match[4] else 1000) ** power)


def duration(text: str) -> float:
    """Read a time as seconds: `10`, `10s`, `1m`, `1h30m`, `1.5h` or `500ms`. Raise Unreadable."""
    total, at, last, text = Decimal(0), 0, Decimal("Infinity"), text.strip()
    while match := DURATION.match(text, at):
        unit = (match[3] or "s").lower()
        scale = TIMES[unit] if unit in TIMES else TIMES[unit[0]]
        if scale >= last or (not match[3] and (match.start() or match.end() < len(text))):
            break  # 30m1h, or a number among others that does not say of what
        total, last, at = total + _number(match[1], match[2]) * scale, scale, match.end()
        while at < len(text) and text[at] == " ":
            at += 1
    if not text or at < len(text):
        raise Unreadable("not a time", "write seconds, or a unit: 10s, 500ms, 1m, 1h30m")
    return float(total)


def time_between(low: float, high: float) -> Callable[[str | float], float]:
    """Make a reader of times from `low` to `high` seconds."""

    def read(text: str | float) -> float:
        value = duration(text) if isinstance(text, str) else text
        if not low <= value <= high:
            hint = f"give seconds, {low:g} to {high:.0f}, or a unit: 10s, 1m, 1h30m"
            raise Unreadable("too short" if value < low else "too long", hint)
        return value

    return read


def rate(text: str) -> Rate:
    """Read a rate: `1.5Mpps`, `10gbit`, `10Gbps`, `10Gbps:l1`, `100Mbit/s`, `25%`, `max`, or `100k`
    packets a second. A bare `10G` or `100M` is ambiguous and refused. Raise Unreadable.
    """
    text = text.strip()
    if text.lower().endswith(L1):
        return Rate(bit_rate(text[: -len(L1)]), "l1")
    if text.lower() == "max":
        return Rate(0.0, "max")
    if match := PERCENT.fullmatch(text):
        return Rate(float(_number(match[1], match[2])), "%")
    _refuse_bytes(text)
    match = RATE.fullmatch(text)
    if not match:
        raise Unreadable("not a rate", RATE_HINT)
    scale, unit = match[3].lower(), (match[4] or "").lower()
    value = float(_number(match[1], match[2]) * SCALES[scale])
    if not unit and (scale in {"g", "t"} or value >= UNIT_FROM):
        raise Unreadable("packets or bits a second?", f"write {text}bit/s, or {text}pps")
    return Rate(value, "pps" if unit in {"", "pps", "p/s"} else "bps")


def bit_rate(text: str | float) -> float:
    """Read bits a second: `10G`, `10gbit`, `2.5Gbps` or `100Mbit/s`. Raise Unreadable."""
    if not isinstance(text, str):
        return text
    _refuse_bytes(text.strip())
    match = RATE.fullmatch(text.strip())
    value = float(_number(match[1], match[2]) * SCALES[match[3].lower()]) if match else 0.0
    if not match or not 0 < value < 1e15 or (match[4] or "").lower() in {"pps", "p/s"}:
        raise Unreadable("not a rate in bits a second", BIT_RATE_HINT)
    return value


def _refuse_bytes(text: str) -> None:
    if BYTES.search(text) and not (text.isupper() and text.endswith("BPS")):
        raise Unreadable("in bytes, and rates are in bits", "write 8 times as much: 80Mbit/s")


def share(text: str | float) -> float:
    """Read a share from 0 to 1: `0.1%`, or `0` for none. Raise Unreadable."""
    if not isinstance(text, str):
        return text
    match = PERCENT.fullmatch(text.strip())
    value = float(_number(match[1], match[2]) / 100) if match else 0.0
    if not 0 <= value <= 1 or (not match and text.strip() != "0"):
        raise Unreadable("not a percentage from 0% to 100%", SHARE_HINT)
    return value
