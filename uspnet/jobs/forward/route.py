# SPDX-License-Identifier: Apache-2.0
"""`--mode route`: an IP router among two or more ports, by a file of routes or the kernel's."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.change import Staged, TableName
from uspnet.jobs.forward.following import Follower, Missed
from uspnet.jobs.forward.interfaces import interfaces
from uspnet.jobs.forward.lpm import IPV4, IPV6, Table
from uspnet.jobs.forward.mode import Following, Given, Mode
from uspnet.jobs.forward.result import Routed
from uspnet.jobs.forward.routes import NextHop, Reader, Routes, read_routes, shown
from uspnet.jobs.forward.ways import Ways, find_port, make_ways, to_every
from uspnet.jobs.route import Route
from uspnet.memory import new
from uspnet.port import Port

# For what reasons a packet is dropped before its destination is looked up.
BEFORE = ("not_routed", "other_host", "bad_header", "bad_source")
NAMED = 3  # gateways without a MAC address that a notice names


@dataclass(frozen=True)
class Routing:
    """The options of `--mode route`. `routes`: the name of the route file; or `kernel_routes`: the
    interfaces that stand for the ports, in the kernel's own routes.
    """

    routes: str = ""
    kernel_routes: str = ""

    def __post_init__(self) -> None:
        """Raise Usage without routes, and for both."""
        if not self.routes and not self.kernel_routes:
            raise Usage("mode route has no routes", "give a file of them, --routes FILE, or take "
                        "the kernel's: --kernel-routes eth0,eth1")  # fmt: skip
        if self.routes and self.kernel_routes:
            raise Usage("the routes are those of --routes or of --kernel-routes", "leave one out")


@dataclass
class Tables:
    """The routes, and what C looks them up in; all workers have the same. `kernel`: whose latest
    ones they were; None: a file's.
    """

    routes: Routes
    ipv4: Table
    ipv6: Table
    kernel: Follower[Tables] | None = None

    def told(self) -> Routed:
        """Return what they are."""
        return Routed(
            ipv4=self.routes.counts[IPV4],
            ipv6=self.routes.counts[IPV6],
            next_hops=sum(hop.act == lib.HOP_SEND for hop in self.routes.hops),
            memory_bytes=self.ipv4.bytes + self.ipv6.bytes,
            neighbors=self.routes.neighbors,
            unanswered=self.kernel.unanswered() if self.kernel else (),
        )


@dataclass
class Router(Ways, mode="route"):
    """From every port to every port; the tables are the same in all workers."""

    help: ClassVar[str] = "is an IP router by --routes or --kernel-routes"
    options: ClassVar[type] = Routing
    table: ClassVar[TableName | None] = "routes"

    hops: c.Hop = ffi.NULL
    n_hops: int = 0

    @classmethod
    def prepare(cls, ports: Sequence[Port], given: Routing) -> Tables:
        """Read the routes, and make the tables. Raises Usage, NoDevice, NotPermitted."""
        if given.kernel_routes:
            namespace, names = interfaces(given.kernel_routes, ports)
            return Follower(names, look_up_in, namespace).latest
        return look_up_in(read_routes(given.routes, number_among(ports)))

    @classmethod
    def reread(cls, ports: Sequence[Port], name: str, text: str) -> Tables:
        """Read the routes in the text of a file, and make the tables. Raises Usage."""
        reader = Reader(name, number_among(ports), "--set-routes")
        return look_up_in(reader.read(io.StringIO(text)))

    @classmethod
    def entries(cls, given: Tables) -> int:
        """Return how many prefixes the file names."""
        return sum(given.routes.counts.values())

    @classmethod
    def notices(cls, given: Tables) -> Iterator[str]:
        """Name gateways that nothing can be sent to, as long as nobody says their MAC address."""
        if given.kernel:
            yield from given.kernel.at_first
        elif unknown := given.routes.unknown():
            named = ", ".join(shown(hop.via or b"") for hop in unknown[:NAMED])
            more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
            yield (f"the MAC address of {named}{more} is not known: packets to there are dropped "
                   "as no_neighbor; add: neighbor ADDRESS port N mac MAC")  # fmt: skip

    @classmethod
    def routes(cls, ports: list[Port]) -> list[Route]:
        """Return every receive queue, with exits to every port."""
        return to_every(ports)

    @classmethod
    def make(cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Given) -> Mode:
        """Make the next hops and the loop."""
        loop = cls(full=full, ways=make_ways(ports, lanes), n_ways=len(lanes))
        loop.stage(ports, given).put()
        return loop

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tables: Tables | None = None

    def stage(self, ports: Sequence[Port], given: Tables) -> Staged:
        """Make next hops for this loop, by which it does not go yet."""
        routes = given.routes
        macs = [routes.macs.get(number) or port.mac for number, port in enumerate(ports)]
        hops = new("struct hop[]", len(routes.hops))
        for made, hop in zip(hops, routes.hops, strict=True):
            fill(made, hop, macs)

        def put() -> object:
            former = self.hops, self.tables
            self.hops, self.tables = hops, given
            self.c.hops, self.c.n_hops = hops, len(hops)
            self.c.ipv4, self.c.ipv6 = given.ipv4.c[0], given.ipv6.c[0]
            for number, mac in enumerate(macs):
                self.c.macs[number] = int.from_bytes(mac or b"", "little")
            return former

        return Staged(self.c, [hops], put)

    def explain(
        self, packet: bytes, counted: int, dropped: str | None, exits: Sequence[str]
    ) -> list[str]:
        """Say which route its destination has."""
        del counted, exits
        if dropped in BEFORE or not self.tables:
            return ["its destination is not looked up"]
        table, at, size = (
            (self.tables.ipv4, 30, 4) if packet[12:14] == b"\x08\0" else (self.tables.ipv6, 38, 16)
        )
        address = packet[at : at + size]
        hop = self.tables.routes.hops[table.find(address)]
        return [f"destination {shown(address)}: {hop_text(hop)}"]

    @classmethod
    def follow(cls, given: Tables, loops: Sequence[Mode]) -> Following | None:
        """Follow the kernel's routes."""
        if given.kernel:
            given.kernel.start(Missed([loop.c for loop in loops]))
        return given.kernel

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what the tables are."""
        tables = [loop.tables for loop in loops if isinstance(loop, cls) and loop.tables]
        return {"route": tables[0].told()} if tables else {}


def hop_text(hop: NextHop) -> str:
    """Say what becomes of packets that have this next hop."""
    texts = {
        lib.HOP_NONE: "no route",
        lib.HOP_ROUTER: "the router itself",
        lib.HOP_LOCAL: "nobody forwards that",
        lib.HOP_DROP: "its route drops it",
    }
    if hop.act in texts:
        return texts[hop.act]
    via = f"via {shown(hop.via)}" if hop.via else "on the link"
    mac = f"at {hop.mac.hex(':')}" if hop.mac else "whose MAC address is not known"
    return f"{via} of port {(hop.port or 0) + 1}, {mac}"


def number_among(ports: Sequence[Port]) -> Callable[[str], int | None]:
    """Return what tells the number of the port that a word means, if it can send."""

    def number(word: str) -> int | None:
        at = find_port(word, ports)
        return at if at is not None and ports[at].can_send else None

    return number


def look_up_in(routes: Routes, kernel: Follower[Tables] | None = None) -> Tables:
    """Make the tables of routes."""
    ipv4, ipv6 = (Table(family, found) for family, found in routes.found.items())
    return Tables(routes, ipv4, ipv6, kernel)


def fill(made: c.Hop, hop: NextHop, macs: Sequence[bytes | None]) -> None:
    """Fill a `struct hop`. `macs`: the router's own, by port; None: any, and one is made up."""
    made.act = hop.act
    if hop.act != lib.HOP_SEND or hop.port is None:
        return
    made.port = hop.port
    if not hop.mac:
        made.act = lib.HOP_NO_NEIGHBOR
        return
    made.macs[0:12] = hop.mac + (macs[hop.port] or b"\x02" + (hop.port + 1).to_bytes(5, "big"))
