# SPDX-License-Identifier: Apache-2.0
"""Compiles what varies into a field program, and checks what the program makes against Scapy.

A checksum follows a field by a multiple of the field's words: 1 where it covers the field, -1 where
it covers only another checksum that does, 0 where that one makes up for the field. The multiples
are found by comparing packets, however deep the tunnels are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.packets.fields.program import ENDS, SUMS, WORD, Check, Index, Program, Step, mix, sample
from uspnet.packets.frames import Template
from uspnet.packets.guard import at_most
from uspnet.packets.payload import made_of
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.domain import Domain, read_domain
from uspnet.packets.vary.flows import draw, flow_index
from uspnet.packets.vary.place import Layout, Place, Sum, Values

MULTIPLES = (0, 1, -1, 2, -2)
SAMPLES = 6  # values of a field by which its checksums are found
COMPILE_S = 30.0  # seconds of processor time
PARTS = ((0, 1), (5, (1 << 58) + 9))  # of the sequence of packets, that are checked
CHECKED = 16  # packets of each part
HALF = 64  # bits that one step writes at most


@dataclass(frozen=True)
class Entry:
    """A field that varies: its name, place and values, and the steps that write it, from the most
    significant bits on, each with its index.
    """

    text: str
    place: Place
    domain: Domain
    parts: tuple[tuple[Index, Step], ...]

    def value(self, number: int) -> int:
        """Return the field's value in the packet of a number."""
        value = 0
        for index, step in self.parts:
            value = value << step.bits | step.value(index.of(number))
        return value


def compile_program(
    templates: Sequence[Template], change: Change
) -> tuple[list[Template], Program]:
    """Compile what changes in templates that Scapy made. Return the templates, of which all have
    the same values in the fields' places, and the program. Raise Usage.
    """
    with at_most(COMPILE_S, "what varies takes too long to compile", "vary fewer fields"):
        layout = Layout(templates[0])
        entries = [_entry(layout, text, mix(change.seed + i)) for i, text in enumerate(change.vary)]
        _check_overlaps(entries)
        entries = _flowing(entries, change) if change.flows else entries
        program = _program(layout, entries)
        origin = {each.place: each.domain.value(0) for each in entries}
        made = [_template(each, origin) for each in templates]
        program = replace(program, checks=_rests(program, made[0].frame))
        for number, each in enumerate(made):
            _verify(Layout(each), entries, program, of=CHECKED if number == 0 else 1)
    return made, program


def _entry(layout: Layout, text: str, seed: int) -> Entry:
    name, given, values = text.partition("=")
    name = name.strip()
    place = layout.find(name)
    if not given and place.flow:
        hint = f"write {name}=1-100 or {name}=random"
        raise Usage(f"--vary {name}: which values?", hint)
    domain = read_domain(name, values.strip(), place.notation)
    at = layout.bits(name, place)
    parts = _parts(name, at, place.notation.bits, domain, seed)
    return Entry(name, place, domain, tuple(parts))


def _parts(name: str, at: int, bits: int, domain: Domain, seed: int) -> list[tuple[Index, Step]]:
    """Return the steps for a field of up to 128 bits, in halves."""
    index = _index(domain, domain.count, seed)
    if bits <= HALF:
        if (at + bits + 7) // 8 - at // 8 > 8:
            raise Usage(f"--vary {name}: its bits are spread over 9 bytes", "vary other fields")
        return [(index, Step(at, bits, domain.low & WORD, domain.step, domain.values))]
    upper, lower = bits - HALF, at + bits - HALF
    if domain.values is not None:
        high = tuple(value >> HALF for value in domain.values)
        low = tuple(value & WORD for value in domain.values)
        return [(index, Step(at, upper, values=high)), (index, Step(lower, HALF, values=low))]
    first, last = domain.value(0), domain.value(domain.count - 1)
    if first >> HALF == last >> HALF:
        constant = Step(at, upper, first >> HALF, 0)
        return [(index, constant), (index, Step(lower, HALF, first & WORD, domain.step))]
    if domain.step != 1 or first & WORD or domain.count & WORD:
        hint = "write a network, as 2001:db8::/32, or a range within one /64"
        raise Usage(f"--vary {name}: the range is too large", hint)
    own = _index(domain, 1 << HALF, mix(seed))
    if not domain.random:  # 2^64 packets later, the upper half would be the next one's
        return [(own, Step(at, upper, first >> HALF, 0)), (own, Step(lower, HALF))]
    above = _index(domain, domain.count >> HALF, seed)
    return [(above, Step(at, upper, first >> HALF)), (own, Step(lower, HALF))]


def _index(domain: Domain, count: int, seed: int) -> Index:
    if not domain.random:
        return Index(count)
    return Index(count, lib.CHOICE_RANDOM, seed=seed if domain.seed is None else domain.seed)


def _flowing(entries: Sequence[Entry], change: Change) -> list[Entry]:
    """Return the entries, of which those of headers move together, through a table of flows."""
    index, made = flow_index(change), []
    columns = iter(draw(change, [each.domain for each in entries if each.place.flow]))
    for each in entries:
        if not each.place.flow:
            made.append(each)
            continue
        domain, at = next(columns), each.parts[0][1].at
        parts = _parts(each.text, at, each.place.notation.bits, domain, 0)
        made.append(replace(each, domain=domain, parts=tuple((index, step) for _, step in parts)))
    return made


def _check_overlaps(entries: Sequence[Entry]) -> None:
    taken: dict[int, str] = {}
    for each in entries:
        for _, step in each.parts:
            for bit in range(step.at, step.at + step.bits):
                if bit in taken:
                    what = f"{taken[bit]} and {each.text}" if taken[bit] != each.text else "twice"
                    raise Usage(f"--vary {each.text}: the same bits, {what}", "drop one of them")
        for _, step in each.parts:
            taken |= dict.fromkeys(range(step.at, step.at + step.bits), each.text)


def _program(layout: Layout, entries: Sequence[Entry]) -> Program:
    """Return the program, but for what the checksums have of the template."""
    found = {each.text: _multiples(layout, each) for each in entries}
    sums = [s for s in layout.sums if any(s in multiples for multiples in found.values())]
    if len(sums) > lib.PROGRAM_CHECKS:
        hint = f"vary fields that at most {lib.PROGRAM_CHECKS} checksums cover"
        raise Usage(f"--vary: {len(sums)} checksums change", hint)
    groups: dict[Index, list[Step]] = {}
    for each in entries:
        for index, step in each.parts:
            factors = [found[each.text].get(s, 0) * _turn(step, s) % SUMS for s in sums]
            groups.setdefault(index, []).append(replace(step, factors=tuple(factors)))
    return Program(list(groups.items()), [Check(s.at, 0, s.zero) for s in sums])


def _turn(step: Step, check: Sum) -> int:
    """Return what a byte swap is modulo 2^16 - 1, where words lie across those of the sum."""
    return 256 if (step.first - check.at) % 2 else 1


def _multiples(layout: Layout, entry: Entry) -> dict[Sum, int]:
    """Return how many times the field is in each checksum that follows it."""
    domain, source = entry.domain, random.Random(1)  # noqa: S311 - no secret
    indexes = {0, 1 % domain.count, domain.count - 1}
    indexes |= {source.randrange(domain.count) for _ in range(SAMPLES)}
    frames = [layout.build({entry.place: domain.value(index)}) for index in sorted(indexes)]
    frames.append(layout.build({}))
    if len({len(frame) for frame in frames}) > 1:
        raise Usage(f"--vary {entry.text}: the packet's length follows from it", "vary others")
    return {s: m for s in layout.sums if (m := _multiple(entry, s, frames))}


def _multiple(entry: Entry, check: Sum, frames: Sequence[bytes]) -> int:
    covered = [sum(s.words(f) * _turn(s, check) for _, s in entry.parts) for f in frames]
    totals = [SUMS - int.from_bytes(f[check.at : check.at + 2], ENDS) for f in frames]
    for multiple in MULTIPLES:
        rests = {(t - multiple * w) % SUMS for t, w in zip(totals, covered, strict=True)}
        if len(rests) == 1:
            return multiple
    raise Usage(f"--vary {entry.text}: a checksum does not follow from it", "vary other fields")


def _rests(program: Program, frame: bytes) -> list[Check]:
    """Return the checksums, with what takes the template's own values out of their sums."""
    steps = [step for _, group in program.groups for step in group]
    return [
        replace(check, rest=-sum(s.factors[i] * s.words(frame) for s in steps) % SUMS)
        for i, check in enumerate(program.checks)
    ]


def _template(template: Template, values: Values) -> Template:
    packet = Layout(template).changed(values)
    frame = Layout(template).build(values)
    if len(frame) != len(template.frame):
        raise Usage("--vary: the packet's length follows from what varies", "vary other fields")
    return made_of(packet, frame, template.payload)


def _verify(layout: Layout, entries: Sequence[Entry], program: Program, of: int) -> None:
    """Compare what C makes with what Scapy makes. Raise Usage."""
    for first, stride in PARTS:
        numbers = [first + i * stride for i in range(of)]
        made = sample(program, [layout.template.frame] * of, (first, stride))
        for number, frame in zip(numbers, made, strict=True):
            if frame != layout.build({each.place: each.value(number) for each in entries}):
                names = ", ".join(each.text for each in entries)
                raise Usage(
                    f"--vary {names}: a checksum or another field follows in a way that can't be"
                    " played, or not every packet has it at the same place",
                    "vary other fields, or make one packet at a time by --packet",
                )
