# SPDX-License-Identifier: Apache-2.0
r"""Port specs: `scheme:target,option=value,…`, parsed against the options that ports and drivers
declare as fields of a dataclass.

A comma inside a target or a value is written `\,`.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeVar

from uspnet import units
from uspnet.errors import Usage
from uspnet.pci.address import full_address
from uspnet.text import did_you_mean

SCHEME = re.compile(r"^([a-z][a-z0-9-]*):(.*)$", re.DOTALL)
OPTION = re.compile(r"^[a-z][a-z0-9-]*=")
UNESCAPED = re.compile(r"(?<!\\),")
PATH_SCHEMES = ("pcap", "memif")
INTERFACE_SCHEMES = ("xdp", "packet")  # ports on a kernel interface, the faster first
SECRET = re.compile(r"^s\W*[ecr]{3,6}\W*t\W*$|passw|pwd", re.IGNORECASE)  # and people's typos
HIDDEN = "***"

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """An option as a spec knows it: the reader of its value, and its help."""

    read: Callable[[str], object]
    help: str
    secret: bool = False  # its value is never shown


Values = Mapping[str, Any]  # what a spec gives, by option, as its reader has read it


def option(read: Callable[[str], T], default: T, help_text: str, *, secret: bool = False) -> T:
    """Declare an option: a field of a subclass of `Options`, of the type that `read` returns.
    `read` raises ValueError for a wrong value. `secret`: the value is never shown.
    """
    return field(default=default, metadata={"option": Option(read, help_text, secret)})


@dataclass(frozen=True)
class Options:
    """Options of a port or driver. A subclass, also a frozen dataclass, declares each once:

    `rx_ring: int = option(integer(32, 4096), 512, "descriptors in the receive ring")`

    A spec writes that as `rx-ring=`. A field without `option` is fixed: no spec can set it.
    """

    @classmethod
    def known(cls) -> dict[str, Option]:
        """Return the options by the names that a spec has for them."""
        return {
            each.name.replace("_", "-"): each.metadata["option"]
            for each in fields(cls)
            if "option" in each.metadata
        }

    def changed(self, values: Values) -> Self:
        """Return a copy with those of the values whose options are among its own."""
        own = self.known().keys() & values.keys()
        return replace(self, **{name.replace("-", "_"): values[name] for name in own})


def check_options(options: object) -> None:
    """Raise TypeError for options that are no frozen dataclass of Options: none would be found."""
    if not isinstance(options, Options) or "__dataclass_fields__" not in vars(type(options)):
        raise TypeError(
            f"options = {type(options).__name__}: make it a frozen dataclass of Options"
        )


@dataclass(frozen=True)
class Spec:
    """A parsed port spec; `str()` returns what the user typed, without secrets."""

    text: str
    scheme: str
    target: str
    given: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return shown(self.text, [name for name in self.given if not SECRET.search(name)])

    @classmethod
    def of(cls, scheme: str, target: str | os.PathLike[str], options: Mapping[str, object]) -> Spec:
        """Return the spec of Python values; those that are None are left out. `_` in an option's
        name stands for `-`.
        """
        target = os.fspath(target)
        named = {name.replace("_", "-"): value for name, value in options.items()}
        given = {name: written(value) for name, value in named.items() if value is not None}
        words = [escaped(target)] if target else []
        words += [f"{name}={escaped(text)}" for name, text in given.items()]
        return cls(f"{scheme}:{','.join(words)}", scheme, target, given)

    def read(self, known: Mapping[str, Option]) -> Values:
        """Return the values that are given. Raise Usage for an unknown name or a wrong value."""
        values: dict[str, Any] = {}
        secrets = {name for name, option in known.items() if option.secret}
        where = shown(self.text, known.keys() - secrets) if secrets else self.text
        behind = False  # a secret: what follows may be the rest of one
        for name, text in self.given.items():
            if name not in known:
                near = did_you_mean(name, known, "{}=")
                hint = f"{near} options are: {', '.join(sorted(known)) or 'none'}".lstrip()
                if self.scheme in PATH_SCHEMES:
                    hint += "; in a name, write \\, for a comma, and ./ before one with a ="
                raise Usage(f"{where}: unknown option {HIDDEN if behind else repr(name)}", hint)
            behind = behind or name in secrets
            try:
                values[name] = known[name].read(text)
            except ValueError as error:
                text = HIDDEN if name in secrets else text  # noqa: PLW2901 - for the message
                raise Usage(f"{where}: {name}={text}: {error}", known[name].help) from None
        return values


def written(value: object) -> str:
    """Return a value as an option's reader takes it."""
    match value:
        case bool():
            return "on" if value else "off"
        case bytes():
            return value.hex(":")
        case float() if value == float("inf"):
            return "forever"
        case frozenset() | set() | list() | tuple():
            return "+".join(map(str, value))
        case _:
            return str(value)


def shown(text: str, plain: Collection[str] | None = None) -> str:
    """Return a spec as it may be shown: without the values of secrets, and without what may be the
    rest of one whose comma was not escaped. `plain`: known options that are not secret.
    """
    head, *parts = UNESCAPED.split(text)
    match = SCHEME.match(head)
    start, first = (match[1] + ":", match[2]) if match else ("", head)
    if OPTION.match(first) and SECRET.search(first.partition("=")[0]):
        return f"{start}{HIDDEN}"
    secret = False
    for place, part in enumerate(parts):
        name, equals, _ = part.partition("=")
        known = equals and plain is not None and name in plain
        if not known and (plain is not None or SECRET.search(name)):
            parts[place] = f"{name}={HIDDEN}" if equals and not secret else HIDDEN
            secret = True
        elif secret and not known:
            parts[place] = HIDDEN
    return ",".join([head, *parts])


def parse(text: str, schemes: Collection[str] = INTERFACE_SCHEMES) -> Spec:
    """Parse a port spec. Raise Usage, with a hint that shows specs that would work, of the schemes
    that exist.
    """
    head, comma, more = text.partition(",")
    if address := full_address(head.lower().removeprefix("pci:")):
        text = f"{address}{comma}{more}"
        return replace(_parse(f"pci:{text}", schemes), text=text)
    return _parse(text, schemes)


def _parse(text: str, schemes: Collection[str]) -> Spec:
    match = SCHEME.match(text)
    if not match:
        raise Usage(f"{shown(text)!r} is not a port", _likely(shown(text), schemes))
    scheme, rest = match.groups()
    target, *parts = (part.replace("\\,", ",") for part in UNESCAPED.split(rest))
    if OPTION.match(target) and scheme != "memif":
        parts, target = [target, *parts], ""
    given: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or not name:
            if any(map(SECRET.search, given)):  # this may be the rest of one
                raise Usage(f"{shown(text)}: a value with a comma", "a comma is written \\,")
            raise Usage(f"{text}: {part!r} is not option=value", _comma(scheme, target, parts))
        if name in given:
            raise Usage(f"{shown(text)}: {name} is given twice", "keep one of them")
        given[name] = value
    return Spec(text, scheme, target, given)


def _comma(scheme: str, target: str, parts: list[str]) -> str:
    """Return a hint: the comma may belong to a name."""
    if scheme not in PATH_SCHEMES:
        return "see: uspnet --help"
    rest = "".join(("," if OPTION.match(part) else "\\,") + part for part in parts)
    if OPTION.match(parts[0]) and not target:
        rest = rest[1:]
    return f"a comma in a name is written \\, as in '{scheme}:{target}{rest}'"


def escaped(text: str) -> str:
    """Escape a text for use as a target or a value in a spec."""
    return text.replace(",", "\\,")


def _likely(text: str, schemes: Collection[str]) -> str:
    """Return a hint: which port `text` may have meant."""
    if text in (name for _, name in socket.if_nameindex()):
        specs = " or ".join(f"{name}:{escaped(text)}" for name in INTERFACE_SCHEMES)
        return f"it is a kernel interface: {specs}"
    if text in schemes:
        return f"write {text}: with its colon, and behind it what it takes; see: man uspnet"
    if "/" in text or "." in text:
        return f"a capture file is pcap:{text}; a shared-memory socket is memif:{text}"
    if text and "," not in text:
        specs = " or ".join(f"{name}:{text}" for name in INTERFACE_SCHEMES)
        return f"a kernel interface is {specs}; a capture file is pcap:{text}"
    return "a port is scheme:target[,option=value…], for example memif:/run/m.sock"


def integer(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers from low to high."""

    def read(text: str) -> int:
        try:
            value = units.count(text)
        except units.Unreadable:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"must be {low} to {high}")
        return value

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of numbers from low to high."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"must be {low:g} to {high:g}")
        return value

    return read


@dataclass(frozen=True)
class Choice:
    """A reader of one of a few words."""

    words: tuple[str, ...]

    def __call__(self, text: str) -> str:
        """Return the text. Raise ValueError if it is none of the words."""
        if text not in self.words:
            raise ValueError(f"must be {' or '.join(self.words)}")
        return text


def choice(*words: str) -> Choice:
    """Make a reader of one of a few words."""
    return Choice(words)


def switch(text: str) -> bool:
    """Read `on` or `off`. Raise ValueError."""
    return choice("on", "off")(text) == "on"


def seconds(text: str) -> float:
    """Read a time in seconds or with a unit, or `forever`. Raise ValueError."""
    return math.inf if text == "forever" else units.duration(text)


def string(longest: int) -> Callable[[str], str]:
    """Make a reader of texts of at most `longest` bytes."""

    def read(text: str) -> str:
        if len(os.fsencode(text)) > longest or "\0" in text:
            raise ValueError(f"must be at most {longest} bytes")
        return text

    return read
