# SPDX-License-Identifier: Apache-2.0
"""`--kernel-routes`: a router goes by the kernel's tables, and follows their changes.

A thread of its own reads them, and again what has changed whenever the kernel says so; each time it
makes new tables, which the job has all loops go by, whole. It is in the network namespace whose
tables those are, and without privileges.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from uspnet.errors import DeviceFault, NoMemory, Usage, UspnetError
from uspnet.fastpath import lib
from uspnet.jobs.forward.asking import Asking, Who
from uspnet.jobs.forward.interfaces import kernel_forwards
from uspnet.jobs.forward.lpm import IPV4, IPV6, Family
from uspnet.jobs.forward.routes import (
    LOCAL,
    ROUTES_MAX,
    Builder,
    NextHop,
    Routes,
    family_by_length,
    read_prefix,
)
from uspnet.kernel import fib, netns, precedence
from uspnet.kernel.netlink import Netlink
from uspnet.system import privileges

if TYPE_CHECKING:
    from uspnet.fastpath import c

TURN_S = 0.05
GAP_S, SHARE = 0.1, 2  # between two readings, and at least so many times as long as one takes
AGAIN_S = 5.0  # after one that failed
NOTICES_MAX = 20  # of neighbors that do not answer
ALWAYS = tuple(read_prefix(text) for text in LOCAL)  # what nobody forwards
LOOPBACK = tuple(read_prefix(text) for text in ("127.0.0.0/8", "::1/128"))
FIRST = {0, 127, *range(224, 256)}  # bytes that addresses of all these begin with
ACTS = {
    fib.TO_LOCAL: lib.HOP_ROUTER,
    fib.ANYCAST: lib.HOP_ROUTER,
    fib.BROADCAST: lib.HOP_LOCAL,
    fib.MULTICAST: lib.HOP_LOCAL,
    fib.BLACKHOLE: lib.HOP_DROP,
    fib.UNREACHABLE: lib.HOP_DROP,
    fib.PROHIBIT: lib.HOP_DROP,
}
T = TypeVar("T")
Prefix = tuple[Family, bytes, int]


def _within(family: Family, route: fib.KernelRoute, prefixes: Iterable[Prefix]) -> bool:
    """Return whether a route is to one of the prefixes, or a part of it."""
    if route.address[0] not in FIRST:
        return False
    return any(
        of is family
        and route.length >= length
        and family.key(route.address, length) == family.key(address, length)
        for of, address, length in prefixes
    )


class Kernel(Builder):
    """Makes routes of the kernel's. `names`: the interfaces, by the port's number."""

    def __init__(
        self, names: Sequence[str], links: Mapping[str, fib.Link], neighbors: fib.Neighbors
    ) -> None:
        super().__init__()
        here = {number: links[name] for number, name in enumerate(names) if name in links}
        self.ports = {link.ifindex: number for number, link in here.items()}
        self.routes.macs = {n: link.mac for n, link in here.items() if len(link.mac) == 6}
        for (ifindex, address), mac in neighbors.items():
            if ifindex in self.ports and len(address) in {4, 16}:
                self.neighbors[self.ports[ifindex], address] = mac
        self._elsewhere = self.hop(NextHop())
        self._known: dict[tuple[int, tuple[fib.Way, ...]], int] = {}

    def build(self, routes: Iterable[fib.KernelRoute]) -> Routes:
        """Return the routes of both families. Raises Usage if they are too many."""
        ranks: dict[Family, dict[int, tuple[bool, int]]] = {IPV4: {}, IPV6: {}}
        for route in routes:
            family = family_by_length(route.address)
            reserved = LOOPBACK if route.kind == fib.TO_LOCAL else ALWAYS
            if _within(family, route, reserved) or (route.kind == fib.UNICAST and not route.ways):
                continue
            key, best = family.key(route.address, route.length), ranks[family]
            if key in best and best[key] <= route.rank:
                continue
            best[key] = route.rank
            self.routes.found[family][key] = self._hop_of(route)
            if len(best) > ROUTES_MAX:
                raise Usage(f"the kernel has more than {ROUTES_MAX:,} routes of {family.name}",
                            "give fewer in a file: --routes FILE")  # fmt: skip
        return self.finish()

    def _hop_of(self, route: fib.KernelRoute) -> int:
        said = route.kind, route.ways
        number = self._known.get(said)
        if number is None:
            number = self._known[said] = self._make(route)
        return number

    def _make(self, route: fib.KernelRoute) -> int:
        """Return the first way that one of the ports leads to; or what else becomes of packets."""
        if route.kind in ACTS:
            return self.hop(NextHop(ACTS[route.kind]))
        for way in route.ways:
            if route.kind == fib.UNICAST and way.ifindex in self.ports:
                return self.hop(NextHop(lib.HOP_SEND, self.ports[way.ifindex], way.via))
        return self._elsewhere


class Follower(Generic[T]):
    """Has the latest tables, which `make` makes of routes, in `latest`. Raises DeviceFault, Usage.

    `namespace`: the one that the interfaces are in; "" is our own. `at_first`: what the user
    should know; `start` begins to follow, `news` tells what is odd since it was last called.
    """

    def __init__(
        self, names: Sequence[str], make: Callable[[Routes, Follower[T]], T], namespace: str = ""
    ) -> None:
        self.names: Sequence[str] = names
        self.namespace = namespace
        self.make = make
        self.asking = Asking(names)
        self._news: deque[str] = deque(maxlen=NOTICES_MAX)
        self._told: set[Who] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kernel-routes", daemon=True)
        self._missed: Callable[[], Iterable[bytes]] = lambda: ()
        self._links: dict[str, fib.Link] = {}
        self._far: list[fib.KernelRoute] = []
        self.known: Mapping[Who, bytes] = {}
        try:
            with netns.entered(namespace):
                self.routes = self._read()
                self.at_first = tuple(kernel_forwards(names, namespace))
        except UspnetError:
            raise  # of the namespace
        except OSError as error:
            raise DeviceFault(f"the kernel's routes can't be read: {error}") from None
        self.latest = make(self.routes, self)

    def start(self, missed: Callable[[], Iterable[bytes]]) -> None:
        """Begin. `missed` returns the destinations of packets that no neighbor was known for.
        Raises NoMemory, NoDevice, NotPermitted.
        """
        self._missed = missed
        try:
            with netns.entered(self.namespace):  # where a thread begins, it stays
                self._thread.start()
        except UspnetError:
            raise
        except (OSError, RuntimeError):
            text = "changes of the kernel's routes can't be followed: there is no thread for it"
            raise NoMemory(text, "see: ulimit -u, ulimit -v") from None

    def close(self) -> None:
        """End it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def news(self) -> Iterable[str]:
        """Return what the user should know."""
        while self._news:
            yield self._news.popleft()

    def unanswered(self) -> tuple[str, ...]:
        """Return who does not answer."""
        return tuple(map(self.asking.text, self.asking.silent))

    def _read(self, *, far: bool = True) -> Routes:
        """Read neighbors, and with `far` all the rest. Raises OSError, Usage."""
        netlink = Netlink()
        with netlink.socket:
            if far:
                self._find_links(netlink)
                self._far = precedence.effective(netlink, fib.routes(netlink))
            made = Kernel(self.names, self._links, fib.neighbors(netlink))
        self.known = made.neighbors
        return made.build(self._far)

    def _find_links(self, netlink: Netlink) -> None:
        """Read the interfaces, and go by the new names of those that were renamed."""
        before, self._links = self._links, fib.links(netlink)
        now = {link.ifindex: link.name for link in self._links.values()}
        old = [before[name].ifindex if name in before else 0 for name in self.names]
        self.names = [now.get(index, name) for index, name in zip(old, self.names, strict=True)]
        self.asking.names = self.names

    def _run(self) -> None:
        """Follow, until it is to end."""
        try:
            privileges.drop()  # the job may still have its own
            news = fib.News()
        except (OSError, UspnetError) as error:
            self._news.append(f"changes of the kernel's routes can't be followed: {error}")
            return
        with contextlib.closing(news):
            self._listen(news)

    def _listen(self, news: fib.News) -> None:
        """Read again what has changed, and ask for neighbors."""
        poll = select.poll()
        poll.register(news.fileno(), select.POLLIN)
        near = far = True  # what has changed before there was a socket
        due = 0.0
        while not self._ended.is_set():
            if poll.poll(TURN_S * 1000):
                changed = news.read()
                near, far = near or changed[0], far or changed[1]
            if (near or far) and time.monotonic() >= due:
                began = time.monotonic()
                if self._renew(far=far):
                    near, far, news.early = False, news.early, False
                    due = began + max(GAP_S, (1 + SHARE) * (time.monotonic() - began))
                else:
                    due = began + AGAIN_S
            self._ask()
            self._ended.wait(TURN_S / 10)

    def _renew(self, *, far: bool) -> bool:
        """Read again, and make tables if they are others. Return whether that went well."""
        try:
            routes = self._read(far=far)
            if routes != self.routes:
                self.latest, self.routes = self.make(routes, self), routes
        except (OSError, UspnetError, MemoryError) as error:
            self._news.append(f"the kernel's routes can't be read: {error}")
            return False
        return True

    def _ask(self) -> None:
        gateways = {(hop.port, hop.via) for hop in self.routes.hops if hop.via is not None}
        missed = {who for each in self._missed() if (who := self._neighbor(each))}
        wanted = {(port, via) for port, via in gateways if port is not None}
        self.asking.turn(wanted, missed, self.known, time.monotonic())
        for who in self.asking.silent:
            if who not in self._told and len(self._told) < NOTICES_MAX:
                self._told.add(who)
                text = f"{self.asking.text(who)} does not answer"
                self._news.append(f"{text}: packets to there are dropped as no_neighbor")

    def _neighbor(self, destination: bytes) -> Who | None:
        """Return who has to be known for a destination; whatever that is."""
        family = family_by_length(destination)
        hop = self.routes.hops[family.longest(self.routes.found[family], destination) or 0]
        if hop.act != lib.HOP_SEND or hop.mac or hop.port is None:
            return None
        return hop.port, hop.via or destination


class Missed:
    """The destinations that loops have dropped packets to, since they were last read."""

    def __init__(self, loops: Sequence[c.RouteLoop]) -> None:
        self._loops = [(loop, int(loop.misses)) for loop in loops]

    def __call__(self) -> list[bytes]:
        """Return some of them: the last ones. Workers write there meanwhile, whatever they like."""
        found: list[bytes] = []
        for number, (loop, before) in enumerate(self._loops):
            now, room = int(loop.misses), len(loop.missed)
            self._loops[number] = loop, now
            for each in (loop.missed[i % room] for i in range(max(before, now - room), now)):
                address = each.high.to_bytes(8, "big") + each.low.to_bytes(8, "big")
                found.append(address if each.is_ipv6 else address[:4])
        return found
