# SPDX-License-Identifier: Apache-2.0
"""`--mode filter`: rules decide which packets pass, and where to."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.change import Staged, TableName
from uspnet.jobs.forward.mode import Given, Mode
from uspnet.jobs.forward.result import Ruled
from uspnet.jobs.forward.ways import Ways, find_port, from_first, make_ways, to_partner
from uspnet.jobs.route import Route
from uspnet.memory import new
from uspnet.packets.caret import Span, pointed
from uspnet.packets.filter import Filter, choose_by
from uspnet.port import Port
from uspnet.text import printable

RULE = re.compile(r"\s*(?P<act>pass|drop|to:(?P<port>\S+))(?:\s+(?P<filter>\S.*))?\s*", re.DOTALL)
RULES_MAX = 256
LINE_MAX, SHOWN = 16384, 60  # characters of a line; how many of them a message shows
HOW = "write: pass FILTER, drop FILTER or to:PORT FILTER, such as 'drop udp port 53'"
RETURN, ANYTHING = 0x06, 0  # BPF: return a number; 0 rejects


@dataclass(frozen=True)
class Rule:
    """One rule, as it was written. `port`: the number of the port that it sends to; None: it says
    nothing of that. `only`: its filter; None: every packet.
    """

    text: str
    act: int
    port: int | None
    only: Filter | None

    def accepts_all(self) -> bool:
        """Return whether no packet goes on to the next rule."""
        if self.only is None:
            return True
        first = self.only.steps[0]
        return first.code == RETURN and first.value != ANYTHING


@dataclass(frozen=True)
class Filtering:
    """The options of `--mode filter`. `rule`: the rules, in order."""

    rule: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Raise Usage for none, and too many."""
        if not self.rule:
            raise Usage("mode filter has no rule", "give one: --rule 'drop udp port 53'")
        if len(self.rule) > RULES_MAX:
            raise Usage(f"{len(self.rule):,} rules", f"give up to {RULES_MAX:,}")


@dataclass
class Filtered(Ways, mode="filter", name="rules"):
    """Between the first port and the others; rules may send packets by any port."""

    help: ClassVar[str] = "drops, passes and diverts packets by --rule"
    options: ClassVar[type] = Filtering
    table: ClassVar[TableName | None] = "rules"

    rules: c.Rule = ffi.NULL
    n_rules: int = 0

    @classmethod
    def prepare(cls, ports: Sequence[Port], given: Filtering) -> Sequence[Rule]:
        """Read the rules; the last one accepts all. Raises Usage."""
        return whole([read_rule(text, ports) for text in given.rule])

    @classmethod
    def reread(cls, ports: Sequence[Port], name: str, text: str) -> Sequence[Rule]:
        """Read the rules in a file, one a line; the last one accepts all. Raises Usage, which names
        the line.
        """
        rules: list[Rule] = []
        for number, line in enumerate(io.StringIO(text), 1):
            if not (rule := line.partition("#")[0].strip()):
                continue
            where = f"--set-rules {name}, line {number}"
            if len(line) > LINE_MAX or len(rules) == RULES_MAX:
                what = f"{LINE_MAX:,} characters" if len(line) > LINE_MAX else f"{RULES_MAX} rules"
                raise Usage(f"{where}: more than {what}", "give less")
            rules.append(read_rule(rule, ports, f"{where}: '{printable(rule, SHOWN)}'"))
        if not rules:
            raise Usage(f"--set-rules {name} has no rule", f"one a line; {HOW}")
        return whole(rules)

    @classmethod
    def notices(cls, given: Sequence[Rule]) -> Iterator[str]:
        """Name the rules that no packet can reach."""
        for number, rule in enumerate(given):
            for before in given[:number]:
                same = rule.only and before.only and rule.only.steps == before.only.steps
                if before.accepts_all() or same:
                    yield f"rule {rule.text!r} is never reached: {before.text!r} comes before it"
                    break

    @classmethod
    def routes(cls, ports: list[Port]) -> list[Route]:
        """Return the receive queues, with exits to every port."""
        return from_first(ports) if len(ports) > 2 else to_partner(ports)

    @classmethod
    def make(cls, ports: Sequence[Port], lanes: Sequence[Route], full: int, given: Given) -> Mode:
        """Make the rules and the loop."""
        loop = cls(full=full, ways=make_ways(ports, lanes), n_ways=len(lanes))
        loop.stage(ports, given).put()
        return loop

    def __post_init__(self) -> None:
        super().__post_init__()
        self.filters: list[c.Filter] = []
        self.given: Sequence[Rule] = ()

    def stage(self, ports: Sequence[Port], given: Sequence[Rule]) -> Staged:
        """Make rules for this loop, by which it does not go yet."""
        del ports
        rules = new("struct rule[]", len(given))
        kept = []
        for made, rule in zip(rules, given, strict=True):
            made.act, made.port = rule.act, rule.port or 0
            if rule.only:
                kept.append(rule.only.make())
                made.only = kept[-1]

        def put() -> object:
            former = self.rules, self.filters, self.given
            count_on(rules, given, self.rules, self.given)
            self.rules, self.filters, self.given = rules, kept, given
            self.c.rules, self.c.n_rules = rules, len(given)
            return former

        return Staged(self.c, [rules, *kept], put)

    def watched(self) -> Sequence[c.CData]:
        """Return the counters of the rules."""
        return [ffi.addressof(self.rules[number], "packets") for number in range(len(self.given))]

    def explain(
        self, packet: bytes, counted: int, dropped: str | None, exits: Sequence[str]
    ) -> list[str]:
        """Say which rule fits."""
        del packet, dropped, exits
        number = next((n for n in range(len(self.given)) if counted >> n & 1), None)
        last = len(self.given) if number is None else number
        steps = [f"rule {n + 1}, {self.given[n].text!r}, does not fit" for n in range(last)]
        if number is not None:
            steps.append(f"rule {number + 1}, {self.given[number].text!r}, fits")
        return steps

    @classmethod
    def entries(cls, given: Sequence[Rule]) -> int:
        """Return how many rules there are."""
        return len(given)

    @classmethod
    def told(cls, loops: Sequence[Mode]) -> Json:
        """Return what each rule has decided on."""
        parts = [loop for loop in loops if isinstance(loop, cls)]
        sums = [
            Ruled(
                rule=rule.text,
                packets=sum(int(loop.rules[number].packets) for loop in parts),
                bytes=sum(int(loop.rules[number].bytes) for loop in parts),
            )
            for number, rule in enumerate(parts[0].given if parts else ())
        ]
        return {"rules": tuple(sums)}


def whole(rules: list[Rule]) -> list[Rule]:
    """Return these rules, and one more if none of them accepts all."""
    last = Rule("pass", lib.RULE_PASS, None, None)
    return rules if any(rule.accepts_all() for rule in rules) else [*rules, last]


def count_on(
    rules: c.Rule, given: Sequence[Rule], before: c.Rule, given_before: Sequence[Rule]
) -> None:
    """Have rules that are written as ones before them go on counting: the first one as the first
    one of the same text, and so on.
    """
    left: dict[str, list[int]] = {}
    for number, rule in reversed(list(enumerate(given_before))):
        left.setdefault(rule.text, []).append(number)
    for made, rule in zip(rules, given, strict=True):
        if same := left.get(rule.text):
            counted = before[same.pop()]
            made.packets, made.bytes = counted.packets, counted.bytes


def read_rule(text: str, ports: Sequence[Port], what: str = "") -> Rule:
    """Read a rule. `what`: how a message names it; empty: as an option. Raises Usage, with the
    place of what is wrong.
    """
    what = what or f"--rule {text!r}"
    found = RULE.fullmatch(text)
    if not found:
        word = re.search(r"\S+", text)
        at = Span(*word.span()) if word else Span(0, len(text))
        raise Usage(f"{what} is no rule", HOW, pointed(text, at))
    only = found["filter"]
    try:
        made = choose_by(only) if only else None
    except Usage as error:
        raise Usage(f"{what}: {error.lines[0]}", error.hint, error.lines[1:]) from None
    if not found["port"]:
        return Rule(text.strip(), {"pass": lib.RULE_PASS, "drop": lib.RULE_DROP}[found["act"]],
                    None, made)  # fmt: skip
    number = find_port(found["port"], ports)
    if number is None or not ports[number].can_send:
        why = "there is no such port" if number is None else "it sends nothing"
        hint = f"write a port as it is named, or its number: to:1 to to:{len(ports)}"
        raise Usage(f"{what}: {why}", hint, pointed(text, Span(*found.span("port"))))
    return Rule(text.strip(), lib.RULE_TO, number, made)
