# SPDX-License-Identifier: Apache-2.0
"""Numbers with the units that people read: `357 µs`, `1.00 Mpps`, `12,345`. None is a dash."""

from __future__ import annotations

PREFIXES = ("", "k", "M", "G", "T")
MINUTE_S, HOUR_S = 60, 3600


def format_count(value: float | None) -> str:
    """Format a number of packets with its thousands separated."""
    return "-" if value is None else f"{value:,.0f}"


def format_rate(value: float | None, unit: str) -> str:
    """Format a rate with two decimals and a power of a thousand: `9.53 Mpps`."""
    if value is None:
        return "-"
    for prefix in PREFIXES:
        whole = not prefix and (value >= 10 or value == int(value))
        text = f"{value:.0f}" if whole else f"{value:.2f}"
        if float(text) < 1000:
            return f"{text} {prefix}{unit}"
        value /= 1000
    return f"{value * 1000:,.0f} {PREFIXES[-1]}{unit}"


def format_time(seconds: float | None) -> str:
    """Format a time with three digits or more: `357 µs`, `12.34 s`, `1 h 30 min`."""
    if seconds is None:
        return "-"
    if seconds >= HOUR_S:
        return f"{int(seconds) // HOUR_S} h {int(seconds) % HOUR_S // MINUTE_S:02} min"
    if seconds >= 2 * MINUTE_S:
        return f"{int(seconds) // MINUTE_S} min {int(seconds) % MINUTE_S:02} s"
    if seconds >= 0.9995 or not seconds:
        return f"{seconds:.2f} s"
    for unit in ("ms", "µs", "ns"):
        seconds *= 1000
        decimals = 2 if seconds < 9.995 else 1 if seconds < 99.95 else 0
        if seconds >= 0.9995 or unit == "ns":
            break
    return f"{seconds:.{0 if unit == 'ns' else decimals}f} {unit}"


def format_share(part: float, whole: float) -> str:
    """Format a share of a whole. Some is never `0 %`, and not all is never `100 %`."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.01:
        return "< 0.01 %"
    if 99.95 <= share < 100:
        return "> 99.9 %"
    return f"{share:.{2 if 0 < share < 1 else 1}f} %"
