# SPDX-License-Identifier: Apache-2.0
"""The route file of `fwd --mode route`: prefixes and their next hops, neighbors, and the router's
own addresses; one a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeVar

from uspnet.errors import NoDevice, NotPermitted, Usage
from uspnet.fastpath import lib
from uspnet.jobs.forward.lpm import IPV4, IPV6, Family
from uspnet.text import printable, read_mac

ROUTES_MAX = 1 << 21
LINE_MAX, SHOWN = 1024, 60  # characters of a line; how many of them a message shows
FORMS = (
    "write: PREFIX via ADDRESS port N [mac MAC], PREFIX port N, PREFIX drop, "
    "neighbor ADDRESS port N mac MAC, local ADDRESS, or port N mac MAC"
)
PREFIX = "write a prefix such as 10.0.0.0/8, 2001:db8::/32 or default"
TWICE = "keep one of the two"
DEFAULT, OPTIONS = "default", ("via", "port", "mac")
# What nobody forwards, unless a route says so: this host, loopback, the link's own, groups.
LOCAL = ("0.0.0.0/32", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32",
         "::/127", "fe80::/10", "ff00::/8")  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True)
class NextHop:
    """What becomes of packets, one of lib.HOP_…. Of those that are sent: `port`: its number, None:
    the one that leads to `via`; `via`: the neighbor's address, None: the packet's own destination
    is the neighbor; `mac`: the neighbor's, None: not known.
    """

    act: int = lib.HOP_NONE
    port: int | None = None
    via: bytes | None = None
    mac: bytes | None = None


@dataclass
class Routes:
    """What a route file says. `found`: by family, a number in `hops` for each prefix, by its key;
    `counts`: how many of them it names; `macs`: the router's own, by the port's number.
    """

    found: dict[Family, dict[int, int]] = field(default_factory=lambda: {IPV4: {}, IPV6: {}})
    counts: dict[Family, int] = field(default_factory=dict)
    hops: list[NextHop] = field(default_factory=lambda: [NextHop()])
    macs: dict[int, bytes] = field(default_factory=dict)
    neighbors: int = 0  # whose MAC addresses are known

    def unknown(self) -> list[NextHop]:
        """Return the gateways whose MAC address is not known."""
        return [hop for hop in self.hops if hop.via and not hop.mac]


def read_routes(name: str, port_number: Callable[[str], int | None]) -> Routes:
    """Read a route file. `port_number`: the port that a word names. Raises Usage, which names the
    line, NoDevice, NotPermitted.
    """
    try:
        with open(name, encoding="utf-8", errors="surrogateescape") as lines:
            return Reader(name, port_number).read(lines)
    except PermissionError as error:
        raise NotPermitted(f"--routes {printable(name)}: {error.strerror}", "see: ls -l") from None
    except OSError as error:
        text = f"--routes {printable(name)}: {error.strerror}"
        raise NoDevice(text, "give a file of routes; see: man uspnet-fwd") from None


class Wrong(ValueError):
    """What is wrong in a line, and how it is written."""

    def __init__(self, what: str, hint: str = FORMS) -> None:
        super().__init__(what)
        self.hint = hint


def family_of(text: str) -> tuple[Family, bytes]:
    """Read an address. Raises Wrong."""
    try:
        return (
            (IPV6, inet_pton(AF_INET6, text)) if ":" in text else (IPV4, inet_pton(AF_INET, text))
        )
    except (OSError, ValueError):
        raise Wrong(f"'{printable(text, SHOWN)}' is no IP address", PREFIX) from None


def family_by_length(address: bytes) -> Family:
    """Return the family of an address in bytes."""
    return IPV4 if len(address) * 8 == IPV4.bits else IPV6


def shown(address: bytes) -> str:
    """Return an address as text."""
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def read_prefix(text: str) -> tuple[Family, bytes, int]:
    """Read a prefix, or an address. Raises Wrong."""
    head, slash, tail = text.partition("/")
    family, address = family_of(head)
    if not slash:
        return family, address, family.bits
    if not re.fullmatch("[0-9]{1,3}", tail, re.ASCII) or int(tail) > family.bits:
        raise Wrong(f"/{printable(tail, SHOWN)}: {family.name} has 0 to {family.bits}", PREFIX)
    length = int(tail)
    if int.from_bytes(address, "big") & (1 << family.bits - length) - 1:
        first = family.key(address, length) >> 8
        net = shown(first.to_bytes(len(address), "big"))
        raise Wrong(f"{text} has bits behind its prefix", f"write {net}/{length}")
    return family, address, length


def options(words: list[str]) -> dict[str, str]:
    """Read pairs of a name and a value. Raises Wrong."""
    given: dict[str, str] = {}
    for name, value in zip(words[::2], [*words[1::2], ""], strict=False):
        if name not in OPTIONS:
            raise Wrong(f"'{printable(name, SHOWN)}' is no word of a route")
        if not value:
            raise Wrong(f"nothing behind {name}")
        if name in given:
            raise Wrong(f"{name} is there twice")
        given[name] = value
    return given


def unicast(text: str) -> bytes:
    """Read the MAC address of a neighbor. Raises Wrong."""
    hint = "write it as 02:00:00:00:00:01"
    try:
        mac = read_mac(text)
    except ValueError as error:
        raise Wrong(f"'{printable(text, SHOWN)}' {error}", hint) from None
    if mac[0] & 1 or not any(mac):
        raise Wrong(f"{text} is nobody's own MAC address", hint)
    return mac


class Builder:
    """Makes routes of what it is told. `neighbors`: MAC addresses, by a port's number and an
    address.
    """

    def __init__(self) -> None:
        self.routes = Routes()
        self.neighbors: dict[tuple[int, bytes], bytes] = {}
        self._numbers: dict[NextHop, int] = {}

    def hop(self, hop: NextHop) -> int:
        """Return the number of a next hop, which is the same for all that are alike."""
        number = self._numbers.setdefault(hop, len(self.routes.hops))
        if number == len(self.routes.hops):
            self.routes.hops.append(hop)
        return number

    def finish(self) -> Routes:
        """Return the routes. Next hops have the MAC addresses of neighbors then; there is what
        nobody forwards, and neighbors on a link, but for these, have routes of their own.
        """
        for family, found in self.routes.found.items():
            self.routes.counts[family] = len(found)
        self.routes.neighbors = len(self.neighbors)
        hops = self.routes.hops
        for number, hop in enumerate(hops):
            if hop.via and not hop.mac and hop.port is not None:
                hops[number] = replace(hop, mac=self.neighbors.get((hop.port, hop.via)))
        local = self.hop(NextHop(lib.HOP_LOCAL))
        for text in LOCAL:
            family, address, length = read_prefix(text)
            self.routes.found[family].setdefault(family.key(address, length), local)
        for (port, address), mac in self.neighbors.items():
            family = family_by_length(address)
            found = self.routes.found[family]
            near = hops[family.longest(found, address) or 0]
            if near.act == lib.HOP_SEND and not near.via and near.port == port:
                found[family.key(address)] = self.hop(replace(near, mac=mac))
        return self.routes


class Reader(Builder):
    """Reads the lines. What a route says behind its prefix is parsed once for all that say so.
    `option`: by which the file was named.
    """

    def __init__(
        self, name: str, port_number: Callable[[str], int | None], option: str = "--routes"
    ) -> None:
        super().__init__()
        self.name, self.port_number = f"{option} {printable(str(name))}", port_number
        self._known: dict[tuple[Family, tuple[str, ...]], int] = {}
        self._number = 0  # of the line
        self._gateways: list[tuple[int, int]] = []  # number of the hop, line: it names no port

    def read(self, lines: Iterable[str]) -> Routes:
        """Read all lines. Raises Usage."""
        try:
            for self._number, line in enumerate(lines, 1):
                if words := line.partition("#")[0].split():
                    self._line(words, line)
            for hop, line_number in self._gateways:
                self._number = line_number
                self._find_port(hop)
        except Wrong as error:
            text = f"{self.name}, line {self._number}: {error}"
            raise Usage(text, error.hint) from None
        if not sum(map(len, self.routes.found.values())):
            raise Usage(f"{self.name} has no route", FORMS)
        return self.finish()

    def _line(self, words: list[str], line: str) -> None:
        if len(line) > LINE_MAX:
            raise Wrong(f"more than {LINE_MAX} characters")
        first, *rest = words
        if first == "neighbor":
            self._neighbor(rest)
        elif first == "port":
            given = options(words)
            if set(given) != {"port", "mac"}:
                raise Wrong("it says nothing of a port", "write: port 1 mac 02:00:00:00:00:01")
            self._once(
                self.routes.macs, self._port(given["port"]), given["mac"], f"port {given['port']}"
            )
        elif first == "local":
            if len(rest) != 1:
                raise Wrong("local takes one address", "write: local 192.0.2.1")
            self._add(*read_prefix(rest[0]), self.hop(NextHop(lib.HOP_ROUTER)))
        else:
            self._route(first, rest)

    def _route(self, prefix: str, rest: list[str]) -> None:
        if prefix == DEFAULT:
            by = rest[rest.index("via") :][1:2] if "via" in rest else []
            prefix = "::/0" if ":" in "".join(by) else "0.0.0.0/0"
        family, address, length = read_prefix(prefix)
        said = family, tuple(rest)
        hop = self._known.get(said)
        if hop is None:
            hop = self._known[said] = self._next_hop(family, rest)
        self._add(family, address, length, hop)

    def _next_hop(self, family: Family, words: list[str]) -> int:
        if not words:
            raise Wrong("nothing behind the prefix")
        if words == ["drop"]:
            return self.hop(NextHop(lib.HOP_DROP))
        given = options(words)
        port = self._port(given["port"]) if "port" in given else None
        via = None
        if "via" in given:
            of, via = family_of(given["via"])
            if of is not family:
                raise Wrong(f"an {family.name} route by an {of.name} address")
        elif port is None:
            raise Wrong("neither a port nor an address to go by")
        mac = unicast(given["mac"]) if "mac" in given else None
        number = self.hop(NextHop(lib.HOP_SEND, port, via, mac))
        if port is None:
            self._gateways.append((number, self._number))
        return number

    def _neighbor(self, words: list[str]) -> None:
        if len(words) != 5:
            raise Wrong("it says nothing of a neighbor", "write: neighbor 192.0.2.1 port 1 mac MAC")
        given = options(words[1:])
        if set(given) != {"port", "mac"}:
            raise Wrong("a neighbor has a port and a mac", FORMS)
        _, address = family_of(words[0])
        who = self._port(given["port"]), address
        self._once(self.neighbors, who, given["mac"], f"neighbor {shown(address)}")

    @staticmethod
    def _once(macs: dict[T, bytes], key: T, mac: str, what: str) -> None:
        """Set a MAC address. Raises Wrong if there is one."""
        if key in macs:
            raise Wrong(f"{printable(what, SHOWN)} is there twice", TWICE)
        macs[key] = unicast(mac)

    def _port(self, word: str) -> int:
        number = self.port_number(word)
        if number is None:
            raise Wrong(f"there is no port {printable(word, SHOWN)}, or it sends nothing",
                        "write a port as it is named, or its number from 1 on")  # fmt: skip
        return number

    def _add(self, family: Family, address: bytes, length: int, hop: int) -> None:
        found, key = self.routes.found[family], family.key(address, length)
        if key in found:
            raise Wrong(f"{shown(address)}/{length} is there twice", TWICE)
        if len(found) == ROUTES_MAX:
            raise Wrong(f"more than {ROUTES_MAX:,} routes of {family.name}", "give fewer")
        found[key] = hop

    def _find_port(self, number: int) -> None:
        """Have packets to a gateway leave by the port that it is behind. Raises Wrong."""
        hop = self.routes.hops[number]
        via = hop.via or b""
        family = family_by_length(via)
        near = self.routes.hops[family.longest(self.routes.found[family], via) or 0]
        if near.act != lib.HOP_SEND or near.via:
            raise Wrong(f"no port leads to {shown(via)}",
                        f"add: port N, or a route to it, such as {shown(via)} port 1")  # fmt: skip
        self.routes.hops[number] = replace(hop, port=near.port)
