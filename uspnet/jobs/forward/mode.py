# SPDX-License-Identifier: Apache-2.0
"""Modes of fwd: what happens to packets on their way, and where they may leave.

A mode is a file of this folder and a loop of the same name in `fastpath/loops/`; or the class that
a package offers in the entry-point group `uspnet.jobs.forward`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Protocol

from uspnet import registry
from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi
from uspnet.jobs.change import Staged, TableName
from uspnet.jobs.loops import Forward
from uspnet.jobs.route import Route
from uspnet.port import Port

Given = Any  # options of a mode: an object of its own dataclass

MODES: dict[str, type[Mode]] = {}


class Following(Protocol):
    """What a mode's tables are made of, where that changes by itself."""

    @property
    def latest(self) -> Given:
        """Return the tables by which loops should go now, as `prepare` returns them."""

    def news(self) -> Iterable[str]:
        """Return what the user should know, and does not know yet."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class NoOptions:
    """The options of a mode that has none."""


@dataclass
class Mode(Forward):
    """One worker's loop in a mode. `ports`: how many it takes; `help`: what it does, as it follows
    the mode's name in the help of `--mode`; `options`: a dataclass of its options, by their names
    on the command line; `ahead`: it assigns packets to exits by `steer`; `table`: what of it can be
    set anew while it runs, by a file. A subclass names it:

    `class EverySecond(Mode, mode="every_second"): …`

    The loop in C has the same name; `name` says another.
    """

    help: ClassVar[str] = ""
    ports: ClassVar[range] = range(2, 3)
    options: ClassVar[type] = NoOptions
    ahead: ClassVar[bool] = False
    mirrors: ClassVar[bool] = False  # it copies packets to an exit that `ways` calls the mirror
    table: ClassVar[TableName | None] = None
    holds = 0  # buffers of packets that wait in the loop itself

    def __init_subclass__(cls, *, mode: str = "", name: str = "", **more: str) -> None:
        super().__init_subclass__(name=name or mode, **more)
        if mode in MODES:
            raise TypeError(f"two modes {mode}: {MODES[mode].__module__} and {cls.__module__}")
        if mode:
            MODES[mode] = cls

    @classmethod
    def routes(cls, ports: list[Port]) -> list[Route]:
        """Return each receive queue with the transmit queues that its packets may leave by: queue i
        of the other port or, if that has fewer, one that several share.
        """
        a, b = ports
        ways = [(x, y) for x, y in ((a, b), (b, a)) if x.can_receive and y.can_send]
        return [
            ((source, index), [(sink, index % sink.tx_queues)])
            for index in range(max(a.queues, b.queues))
            for source, sink in ways
            if index < source.queues
        ]

    @classmethod
    def prepare(cls, ports: Sequence[Port], given: Given) -> Given:
        """Return the options as `make` takes them, whose names of ports are known. Raises Usage."""
        del ports
        return given

    @classmethod
    def notices(cls, given: Given) -> Iterable[str]:
        """Return what the user should know about what `prepare` has returned."""
        del given
        return ()

    @classmethod
    def make(cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Given) -> Mode:
        """Make one worker's loop, which has these lanes. `given`: the options. Raises Usage."""
        del ports, lanes, given
        return cls(full=full)

    @property
    def forward(self) -> c.ForwardLoop:
        """Return the struct as `struct forward_loop *`."""
        return ffi.cast("struct forward_loop *", self.c)

    def watched(self) -> Sequence[c.CData]:
        """Return pointers to what the loop counts (uint64_t), for `explain`; TRACE_WATCHED at
        most.
        """
        return ()

    def news(self) -> Iterable[str]:
        """Return what the user should know of what the loop has met, and does not know yet."""
        return ()

    def explain(
        self, packet: bytes, counted: int, dropped: str | None, exits: Sequence[str]
    ) -> list[str]:
        """Return what the loop has found in a packet that `--trace` follows, a sentence each.
        `counted`: bit i is set if it has counted on `watched` i. `dropped`, `exits`: what it has
        decided: the reason, and the names of ports.
        """
        del packet, counted, exits
        return [] if dropped else ["it leaves by the other port"]

    @classmethod
    def reread(cls, ports: Sequence[Port], name: str, text: str) -> Given:
        """Return the options that the text of a file has, as `prepare` does, for a mode with a
        `table`. Raises Usage.
        """
        raise NotImplementedError

    def stage(self, ports: Sequence[Port], given: Given) -> Staged:
        """Make tables for a loop that runs, of what `reread` has returned."""
        raise NotImplementedError

    @classmethod
    def entries(cls, given: Given) -> int:
        """Return how many entries the table has."""
        raise NotImplementedError

    @classmethod
    def follow(cls, given: Given, loops: Sequence[Mode]) -> Following | None:
        """Begin to follow what the tables of loops, which are about to run, are made of; None: that
        does not change by itself.
        """
        del given, loops
        return None

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what loops of this mode count, as fields of ForwardResult."""
        del loops
        return {}


@cache
def modes() -> dict[str, type[Mode]]:
    """Return every mode by name."""
    registry.load("uspnet.jobs.forward")
    return MODES


def modes_help() -> str:
    """Return what each mode does, in one sentence."""
    every = [f"{name} {mode.help}".rstrip() for name, mode in sorted(modes().items())]
    return ", ".join(every) + "."


def find_mode(name: str, ports: int) -> type[Mode]:
    """Return the mode of this name. Raises Usage if there is none, or it does not take so many
    ports.
    """
    if name not in modes():
        known = ", ".join(sorted(modes()))
        hint = f"modes are: {known}; see: uspnet fwd --help"
        raise Usage(f"there is no mode {name}", registry.failures("uspnet.jobs.forward") + hint)
    mode = modes()[name]
    if ports not in mode.ports:
        least, most = mode.ports[0], mode.ports[-1]
        given = "1 is" if ports == 1 else f"{ports} are"
        takes = f"{least} ports" if least == most else f"{least} to {most} ports"
        able = [each for each, other in sorted(modes().items()) if ports in other.ports]
        hint = f"for {ports} ports: --mode {able[0]}" if able else "see: uspnet fwd --help"
        raise Usage(f"mode {name} takes {takes}, and {given} given", hint)
    return mode


def read_options(mode: type[Mode], given: Mapping[str, object]) -> Given:
    """Return the options of a mode. Raises Usage for those of other modes, and wrong ones."""
    own = {each.name for each in fields(mode.options)}
    for name in given:
        if name in own:
            continue
        others = [n for n, m in modes().items() if name in {f.name for f in fields(m.options)}]
        hint = f"add: --mode {others[0]}" if others else "see: uspnet fwd --help"
        raise Usage(f"mode {_name(mode)} has no --{name.replace('_', '-')}", hint)
    return mode.options(**given)


def _name(mode: type[Mode]) -> str:
    return next(name for name, each in modes().items() if each is mode)
