# SPDX-License-Identifier: Apache-2.0
"""The values that a varying field takes: `10.0.0.0/16`, `1024-65535:random`, `list:1,5`.

Addresses are numbers here; `Notation` reads and writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from uspnet import units
from uspnet.errors import Usage
from uspnet.packets.frames import mac_bytes

OPTION = re.compile(r":(random(?:=[^:]*)?|dec|step=[^:]*)$")
LIST_MAX = 1 << 20  # values
SPEC_HINT = "=1-100, =1-100:random, =1-100:step=4, =100-200:dec, =list:1,5,9 or =random"


@dataclass(frozen=True)
class Notation:
    """How values of `bits` bits are written. `show` makes of a number what Scapy takes."""

    bits: int
    read: Callable[[str], int]
    show: Callable[[int], int | str]
    example: str


def number(bits: int) -> Notation:
    """Return the notation of a number."""
    return Notation(bits, units.count, int, "a number")


IP4 = Notation(32, lambda t: int(IPv4Address(t)), lambda v: str(IPv4Address(v)), "10.0.0.1")
IP6 = Notation(128, lambda t: int(IPv6Address(t)), lambda v: str(IPv6Address(v)), "2001:db8::1")
MAC = Notation(
    48,
    lambda t: int.from_bytes(mac_bytes(t), "big"),
    lambda v: v.to_bytes(6, "big").hex(":"),
    "02:00:00:00:00:01",
)


@dataclass(frozen=True)
class Domain:
    """Values in order: those of a list, or `count` from `low` on, `step` apart. `seed`: drawn at
    random; None: in turn.
    """

    count: int
    low: int = 0
    step: int = 1
    values: tuple[int, ...] | None = None
    random: bool = False
    seed: int | None = None

    def value(self, index: int) -> int:
        """Return the value of an index."""
        return self.values[index] if self.values is not None else self.low + index * self.step


def read_domain(name: str, text: str, notation: Notation) -> Domain:
    """Read what follows `NAME=`. Raise Usage, which names the field."""
    options: dict[str, str] = {}
    while match := OPTION.search(text):
        key, _, value = match[1].partition("=")
        options[key], text = value, text[: match.start()]
    if text == "random":
        options.setdefault("random", "")
        text = ""
    found = _values(name, text.strip(), notation)
    if "step" in options:
        found = _stepped(name, found, options["step"])
    if "dec" in options:
        found = _reversed(found)
    if "random" not in options:
        return found
    if "dec" in options:
        raise Usage(f"--vary {name}: values at random have no order", "drop :dec, or :random")
    seed = _whole(name, "seed", options["random"]) if options["random"] else None
    return Domain(found.count, found.low, found.step, found.values, random=True, seed=seed)


def _values(name: str, text: str, notation: Notation) -> Domain:
    """Read a list, a network, a range, one value, or nothing: all values."""
    if not text:
        return Domain(1 << notation.bits)
    if text.startswith("list:"):
        values = tuple(_value(name, each, notation) for each in text[5:].split(","))
        if len(values) > LIST_MAX:
            raise Usage(f"--vary {name}: {len(values):,} values", f"list at most {LIST_MAX:,}")
        return Domain(len(values), values=values)
    if "/" in text:
        return _network(name, text, notation)
    first, dash, last = text.partition("-")
    low = _value(name, first, notation)
    high = _value(name, last, notation) if dash else low
    if high < low:
        hint = f"write {last}-{first}:dec to count down"
        raise Usage(f"--vary {name}: the range {text} is empty", hint)
    return Domain(high - low + 1, low)


def _network(name: str, text: str, notation: Notation) -> Domain:
    base, _, prefix = text.partition("/")
    length = _whole(name, "prefix", prefix)
    if length > notation.bits:
        raise Usage(
            f"--vary {name}: a prefix of {length} bits is longer than its {notation.bits} bits",
            f"write {base}/{notation.bits} or less",
        )
    low, count = _value(name, base, notation), 1 << notation.bits - length
    if low % count:
        hint = f"write {notation.show(low - low % count)}/{length}"
        raise Usage(f"--vary {name}: {base} is not the first address of its network", hint)
    return Domain(count, low)


def _value(name: str, text: str, notation: Notation) -> int:
    try:
        value = notation.read(text.strip())
    except (ValueError, Usage):
        hint = f"write it as {notation.example}, or " + SPEC_HINT
        raise Usage(f"--vary {name}: {text.strip()!r} is no value of it", hint) from None
    if not 0 <= value < 1 << notation.bits:
        hint = f"its values are 0 to {(1 << notation.bits) - 1:,}"
        raise Usage(f"--vary {name}: {text.strip()} does not fit into {notation.bits} bits", hint)
    return value


def _whole(name: str, what: str, text: str) -> int:
    try:
        value = units.count(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise Usage(f"--vary {name}: {text!r} is no {what}", "write a whole number, such as 8")
    return value


def _stepped(name: str, domain: Domain, text: str) -> Domain:
    step = _whole(name, "step", text)
    if not step or domain.values is not None:
        hint = "write a step of 1 or more after a range, such as 0-1000:step=4"
        raise Usage(f"--vary {name}: nothing can be stepped through", hint)
    return Domain(-(-domain.count // step), domain.low, step)


def _reversed(domain: Domain) -> Domain:
    if domain.values is not None:
        return Domain(domain.count, values=domain.values[::-1])
    return Domain(domain.count, domain.value(domain.count - 1), -domain.step)
