# SPDX-License-Identifier: Apache-2.0
"""fwd: every packet that enters one port leaves by the other, both ways."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from uspnet.answer import Json
from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.jobs.change import Prepared, TableName, Wanted
from uspnet.jobs.forward.mirror import to_mirror, with_mirror
from uspnet.jobs.forward.mode import Following, Given, Mode, find_mode, read_options
from uspnet.jobs.forward.result import TracedPacket
from uspnet.jobs.forward.rewriting import Rewriting, counted
from uspnet.jobs.forward.trace import Trace, Tracing, told_of
from uspnet.jobs.forward.ways import sources
from uspnet.jobs.job import Job
from uspnet.jobs.plan import Limits, Plan
from uspnet.jobs.result import ForwardResult, unintended
from uspnet.jobs.route import Route, owners
from uspnet.jobs.upgrades import Request
from uspnet.packets.fields.rewrite import Rewrite
from uspnet.port import Port
from uspnet.telemetry import reasons_text

WHEN_FULL = {"drop": lib.FULL_DROP, "wait": lib.FULL_WAIT}
RENEWAL_S, AGAIN_S = 0.1, 5.0  # between two times that loops get new tables; after one that failed


@dataclass
class Forwarding:
    """How fwd treats packets: `mode` decides and rewrites, `on_full` is what a full ring means,
    `options` are those of the mode, `mirror` is a port for copies of all packets. `kind`: a mode
    that has no name, instead. `rewrite`: what is set in packets that leave, but for the mirror's.
    `trace`: what is to be followed; the job ends after that.
    """

    mode: str = "io"
    on_full: str = "drop"
    options: Mapping[str, object] = field(default_factory=dict)
    mirror: Port | None = None
    kind: type[Mode] | None = None
    rewrite: Rewrite | None = None
    trace: Tracing | None = None

    def __post_init__(self) -> None:
        """Raise Usage for a word that is none of `on_full`'s."""
        if self.on_full not in WHEN_FULL:
            raise Usage(f"on_full={self.on_full!r}", f"one of: {', '.join(WHEN_FULL)}")


class ForwardJob(Job[ForwardResult]):
    """Forwards between ports, as its mode decides. `named`: its command."""

    named: ClassVar[str] = "fwd"
    answer: ClassVar[type[ForwardResult]] = ForwardResult

    def __init__(self, ports: list[Port], limits: Limits, how: Forwarding) -> None:
        self.mode = how.kind or find_mode(how.mode, len(ports))
        self.given = self.mode.prepare(ports, read_options(self.mode, how.options))
        if how.mirror:
            self.mode = with_mirror(self.mode, how.mirror)
        self.among = ports
        super().__init__(self.named, [*ports, *([how.mirror] if how.mirror else [])], limits)
        for port in self.ports:
            port.is_beside_others |= bool(how.rewrite or how.options.get("corrupt"))
            feeders = [other for other in sources(ports) if other is not port]
            if port.can_send and len(feeders) == 1:
                port.fed_by(feeders[0])
        self.how = how
        self.traces: list[Trace] = []
        self.following: Following | None = None
        self._renewal = Request(None)  # by which the loops get the latest tables
        self._renew_at = 0.0
        self.rewritings: list[Rewriting] = []
        self.crew.upgrades.prepare = self.prepare

    def prepare(self, wanted: Wanted) -> Prepared:
        """Make tables for all loops, which go by others now. Raises NotSupported, Usage."""
        if self.mode.table != wanted.table:
            has = f"; its {self.mode.table} can be set" if self.mode.table else ""
            text = f"this job, of --mode {self.how.mode}, has no {wanted.table}{has}"
            needs = {"rules": "filter", "routes": "route"}[wanted.table]
            raise NotSupported(text, f"set those of a job of --mode {needs}; see: uspnet stats")
        if self.traces:
            raise NotSupported("its packets are being traced", "wait until that is over")
        given = self._tables(wanted)
        loops = self.loops()

        def put() -> object:
            former, self.given = self.given, given
            return former

        return Prepared(
            [loop.stage(self.among, given) for loop in loops],
            self.mode.entries(given),
            self.mode.entries(self.given),
            list(self.mode.notices(given)),
            put,
        )

    def loops(self) -> list[Mode]:
        """Return the loops of the mode."""
        return [w.loop for w in self.workers if isinstance(w.loop, self.mode)]

    def _tables(self, wanted: Wanted) -> Given:
        """Return the tables that are wanted. Raises NotSupported, Usage."""
        if wanted.text is None and self.following:
            return self.following.latest
        if self.following:
            text = f"this job's {wanted.table} are the kernel's, and follow those"
            raise NotSupported(text, "change the kernel's: ip route, ip neighbor")
        return self.mode.reread(self.among, wanted.name, wanted.text or "")

    def check(self, result: ForwardResult) -> None:
        """Raise NotSupported if packets of a file were to be forwarded, and not one could be."""
        from_file = any(not port.can_send for port in self.ports)
        lost = unintended(result.drops)
        if result.forwarded or result.before or not lost or self.stopped() or not from_file:
            return
        reasons = reasons_text(result.drops)
        text = f"none of {result.received:,} packets could be forwarded ({reasons})"
        hint = "see which frames the other port takes: its mtu= or frame= option, or: ip link"
        raise self.fail(NotSupported(text, hint), result)

    def set_up(self) -> None:
        """Have packets time-stamped if a file is written; follow what tables come from, which may
        take privileges to begin with.
        """
        for worker in self.workers:
            if any(not port.can_receive for port in self.ports):
                worker.stamp(ahead=self.mode.ahead or self.how.trace is not None)
        if following := self.mode.follow(self.given, self.loops()):
            self.undo.callback(following.close)
            self.following = following

    def tick(self) -> None:
        """End the run after the last packet that was to be traced; follow what tables come from."""
        super().tick()
        for text in [text for loop in self.loops() for text in loop.news()]:
            self.on_notice(text)
        if self.following and self.mode.table and not self.traces:
            self._follow(self.following, self.mode.table)
        if self.how.trace and not self.stop_reason:
            done = sum(1 for trace in self.traces for _ in trace.done())
            if done >= self.how.trace.count:
                self.stop()

    def _follow(self, following: Following, table: TableName) -> None:
        """Have the loops go by the latest tables; again after some time, where that has failed."""
        for text in following.news():
            self.on_notice(text)
        upgrades, now = self.crew.upgrades, time.monotonic()
        if self._renewal.error:
            self._renewal, self._renew_at = Request(None), now + AGAIN_S
        if following.latest is self.given or upgrades.busy() or now < self._renew_at:
            return
        self._renew_at = now + RENEWAL_S
        self._renewal = upgrades.ask(None, wanted=Wanted(table, "", None))

    def plans(self) -> list[Plan]:
        """Plan the workers. A transmit queue belongs to one worker, with every lane that leaves by
        it.
        """
        routes = self.mode.routes(self.among)
        if not routes:
            names = " and ".join(port.name for port in self.ports)
            raise Usage(
                f"nothing can pass between {names}",
                "one has to be read and one written: pcap:FILE and pcap:out=FILE",
            )
        if self.how.mirror:
            routes = to_mirror(routes, self.how.mirror)
        full = WHEN_FULL[self.how.on_full]
        shares = shared_out(owners(routes), self.cores)
        loops = [self.mode.make(self.among, lanes, full, self.given) for lanes, _ in shares]
        if wanted := self.how.rewrite:
            mirrors = self.how.mirror is not None
            self.rewritings = [Rewriting(loop, wanted, mirrors=mirrors) for loop in loops]
        if self.how.trace:
            self.traces = [Trace(loop, self.how.trace) for loop in loops]
        return [
            Plan(loop, lanes, core, loop.holds)
            for loop, (lanes, core) in zip(loops, shares, strict=True)
        ]

    def linked(self) -> None:
        """Tell what is odd about the options, before it begins."""
        for text in self.mode.notices(self.given):
            self.on_notice(text)

    def count(self) -> ForwardResult:
        """Return what was forwarded so far."""
        forwarded, drops = self.total("tx", "packets"), self.drops()
        return self.answer(
            **self.common(),
            received=self.received(),
            copied=self.total("tx", "copied"),
            forwarded=forwarded,
            dropped=sum(drops.values()),
            drops=drops,
            **self.rates(forwarded, self.total("tx", "bytes")),
            **self.mode.told(self.loops()),
            **self.told(),
            set=counted(self.how.rewrite, self.rewritings) if self.how.rewrite else (),
            traced=self.traced(),
        )

    def traced(self) -> tuple[TracedPacket, ...] | None:
        """Return the packets that were followed so far; None: none were to be."""
        wanted = self.how.trace
        if not wanted:
            return None
        return tuple(told_of(self.traces, self.workers, wanted.count, self.how.mirror))

    def told(self) -> Json:
        """Return the further fields of the result."""
        return {}


def shared_out(
    groups: list[list[Route]], cores: Sequence[int | None]
) -> list[tuple[list[Route], int | None]]:
    """Return the lanes of each worker, and its core: no group of routes is divided."""
    used = cores[: len(groups)]
    shares = [groups[i :: len(used)] for i in range(len(used))]
    lanes = [[lane for group in share for lane in group] for share in shares]
    return list(zip(lanes, used, strict=True))
