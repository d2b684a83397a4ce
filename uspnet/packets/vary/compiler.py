# SPDX-License-Identifier: Apache-2.0
"""Compiles what varies into a field program, and checks what the program makes against Scapy.

A checksum follows a field by a multiple of the field's words: 1 where it covers the field, -1 where
it covers only another checksum that does, 0 where that one makes up for the field. The multiples
are found by comparing packets, however deep the tunnels are.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.packets.fields.program import ENDS, SUMS, WORD, Check, Index, Program, Step, mix, sample
from uspnet.packets.frames import Template
from uspnet.packets.guard import at_most
from uspnet.packets.payload import made_of
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.domain import Domain, read_domain
from uspnet.packets.vary.flows import draw, flow_index, namer
from uspnet.packets.vary.place import Layout, Place, Sum

MULTIPLES = (0, 1, -1, 2, -2)
SAMPLES = 6  # values of a field by which its checksums are found
COMPILE_S = 60.0  # seconds of processor time
FAR, STRIDE = (1 << 40) + 5, (1 << 58) + 9  # a part of the sequence that is checked, too
CHECKED = 16  # packets of each part of the sequence that is checked
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


@dataclass(frozen=True)
class Start:
    """A template in which the fields have their first values; their places, by their names."""

    layout: Layout
    places: Mapping[str, Place]
    values: Mapping[Place, int]
    template: Template


@dataclass(frozen=True)
class Proof:
    """What a program makes in `count` packets, from number `first` on and every `stride` later, is
    what Scapy makes of these entries' values.
    """

    entries: Sequence[Entry]
    program: Program
    count: int
    first: int = 0
    stride: int = 1


@dataclass(frozen=True)
class Compiled:
    """What plays the packets that are like a template, and what proves that it does."""

    template: Template
    program: Program
    entries: Sequence[Entry]
    proofs: Sequence[Proof]


def compile_program(
    templates: Sequence[Template], change: Change
) -> tuple[list[Template], Program]:
    """Compile what changes in templates that Scapy made. Return the templates, of which all have
    the same values in the fields' places, and the program. Raise Usage.
    """
    with at_most(COMPILE_S, "what varies takes too long to compile", "vary fewer fields"):
        made = compile_one(templates[0], change)
        return [made.template, *(like(each, made) for each in templates[1:])], made.program


def compile_one(template: Template, change: Change) -> Compiled:
    """Compile what changes in one template. Raise Usage."""
    layout = Layout(template)
    entries = [_entry(layout, text, mix(change.seed + i)) for i, text in enumerate(change.vary)]
    turning = _turning(layout, change, {each.place for each in entries})
    _check_overlaps([*entries, *turning])
    entries = _flowing(entries, change) if change.flows else entries
    named, entries = entries, [*entries, *turning]
    found = {each.text: _multiples(layout, each) for each in entries}
    start = _start(layout, entries)
    program = _program(layout, entries, found, start.template.frame)
    proofs = [_joint(entries, program), *_singles(start, entries, found)]
    for proof in (*proofs, Proof(entries, program, CHECKED, FAR, STRIDE)):
        _verify(start, proof, proof.count)
    if change.flows:
        program.flow, program.name_flow = flow_index(change), namer(named)
    return Compiled(start.template, program, entries, proofs)


def like(template: Template, other: Compiled) -> Template:
    """Return a further template that the program fits. Raise Usage, which names its layers."""
    layout = Layout(template)
    try:
        start = _start(layout, other.entries)
        for proof in other.proofs:
            _verify(start, proof, 1)
    except Usage as error:
        names = "/".join(type(layer).__name__ for layer in layout.packet.iterpayloads())
        raise Usage(f"{error.message}: the packet {names}", error.hint) from None
    return start.template


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


def _turning(layout: Layout, change: Change, taken: set[Place]) -> list[Entry]:
    """Return the fields that are played in turn, without those that are taken."""
    made = []
    for each in change.turns:
        place = layout.find(each.name)
        bits = place.notation.bits
        parts = _parts(each.name, layout.bits(each.name, place), bits, each.domain, 0)
        slow = tuple((replace(index, every=each.every), step) for index, step in parts)
        if place not in taken:
            made.append(Entry(each.name, place, each.domain, slow))
    return made


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
    index = flow_index(change)
    columns = iter(draw(change, [each.domain for each in entries if each.place.flow]))
    return [_taking(e, next(columns), index) if e.place.flow else e for e in entries]


def _taking(entry: Entry, domain: Domain, index: Index) -> Entry:
    """Return the entry with the values of a list, and what decides about them."""
    at, bits = entry.parts[0][1].at, entry.place.notation.bits
    parts = _parts(entry.text, at, bits, domain, 0)
    return replace(entry, domain=domain, parts=tuple((index, step) for _, step in parts))


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


def _program(
    layout: Layout, entries: Sequence[Entry], found: Mapping[str, Mapping[Sum, int]], frame: bytes
) -> Program:
    """Return the program that plays these entries in a template's frame. `found`: how many times
    each is in each checksum. Raise Usage.
    """
    sums = [s for s in layout.sums if any(s in found[each.text] for each in entries)]
    if len(sums) > lib.PROGRAM_CHECKS:
        hint = f"vary fields that at most {lib.PROGRAM_CHECKS} checksums cover"
        raise Usage(f"--vary: {len(sums)} checksums change", hint)
    groups: dict[Index, list[Step]] = {}
    for each in entries:
        for index, step in each.parts:
            factors = [found[each.text].get(s, 0) * _turn(step, s) % SUMS for s in sums]
            groups.setdefault(index, []).append(replace(step, factors=tuple(factors)))
    steps = [step for group in groups.values() for step in group]
    checks = [
        Check(s.at, -sum(step.factors[i] * step.words(frame) for step in steps) % SUMS, s.zero)
        for i, s in enumerate(sums)
    ]
    return Program(list(groups.items()), checks)


def _turn(step: Step, check: Sum) -> int:
    """Return what a byte swap is modulo 2^16 - 1, where words lie across those of the sum."""
    return 256 if (step.first - check.at) % 2 else 1


def _multiples(layout: Layout, entry: Entry) -> dict[Sum, int]:
    """Return how many times the field is in each checksum that follows it."""
    frames = [layout.build({entry.place: value}) for value in _samples(entry.domain)]
    frames.append(layout.build({}))
    if len({len(frame) for frame in frames}) > 1:
        raise Usage(f"--vary {entry.text}: the packet's length follows from it", "vary others")
    longer = [s for s in layout.checks if s not in layout.sums]
    if any(len({f[s.at : s.at + s.size] for f in frames}) > 1 for s in longer):
        raise _follows_not(entry)
    return {s: m for s in layout.sums if (m := _multiple(entry, s, frames))}


def _multiple(entry: Entry, check: Sum, frames: Sequence[bytes]) -> int:
    covered = [sum(s.words(f) * _turn(s, check) for _, s in entry.parts) for f in frames]
    totals = [SUMS - int.from_bytes(f[check.at : check.at + 2], ENDS) for f in frames]
    for multiple in MULTIPLES:
        rests = {(t - multiple * w) % SUMS for t, w in zip(totals, covered, strict=True)}
        if len(rests) == 1:
            return multiple
    raise _follows_not(entry)


def _follows_not(entry: Entry) -> Usage:
    return Usage(f"--vary {entry.text}: a checksum does not follow from it", "vary other fields")


def _samples(domain: Domain) -> list[int]:
    """Return some values, the first one first; not all of the same sum of words if there are
    others.
    """
    source = random.Random(1)  # noqa: S311 - no secret
    indexes = [0, 1 % domain.count, domain.count - 1]
    values = [
        *map(domain.value, indexes + [source.randrange(domain.count) for _ in range(SAMPLES)])
    ]
    if domain.values is not None:
        values += [*{value % SUMS: value for value in domain.values}.values()][:SAMPLES]
    return list(dict.fromkeys(values))


def _others(domain: Domain) -> list[int]:
    """Return some values other than the first one, the one that is least like it first."""
    first, *others = _samples(domain)

    def unlike(value: int) -> tuple[bool, int]:
        return (value - first) % SUMS > 0, (value ^ first).bit_count()

    return sorted(others, key=unlike, reverse=True)


def _start(layout: Layout, entries: Sequence[Entry]) -> Start:
    """Find the fields in a template, and give them their first values. Raise Usage."""
    places = {each.text: layout.find(each.text) for each in entries}
    if unlike := [e for e in entries if places[e.text].notation != e.place.notation]:
        raise _unlike(unlike)
    values = {places[each.text]: each.domain.value(0) for each in entries}
    frame, before = layout.build(values), layout.template
    if len(frame) != len(before.frame):
        raise Usage("--vary: the packet's length follows from what varies", "vary other fields")
    template = made_of(layout.changed(values), frame, before.payload)
    return Start(layout, places, values, template)


def _joint(entries: Sequence[Entry], program: Program) -> Proof:
    """Return the proof for all fields at once, which begins where most don't have their first
    value: whatever is wrong with those that have it isn't seen.
    """

    def changed(number: int) -> int:
        return sum(each.value(number) != each.domain.value(0) for each in entries)

    return Proof(entries, program, CHECKED, max(range(64), key=changed))


def _singles(
    start: Start, entries: Sequence[Entry], found: Mapping[str, Mapping[Sum, int]]
) -> list[Proof]:
    """Return a proof for each field alone: what is wrong with several may cancel out. The first
    packet has the value that is least like the field's first one.
    """
    proofs = []
    for each in entries:
        if others := _others(each.domain):
            domain = Domain(len(others), values=tuple(others))
            single = [_taking(each, domain, Index(domain.count))]
            program = _program(start.layout, single, found, start.template.frame)
            proofs.append(Proof(single, program, domain.count))
    return proofs


def _verify(start: Start, proof: Proof, count: int) -> None:
    """Compare what C makes of a template with what Scapy makes. Raise Usage."""
    template = start.template.frame
    if proof.program.reach() > len(template):
        raise _unlike(proof.entries)
    made = sample(proof.program, [template] * count, (proof.first, proof.stride))
    for i, frame in enumerate(made):
        number = proof.first + i * proof.stride
        values = {start.places[each.text]: each.value(number) for each in proof.entries}
        if frame != start.layout.build({**start.values, **values}):
            raise _unlike(proof.entries)


def _unlike(entries: Sequence[Entry]) -> Usage:
    return Usage(
        f"--vary {', '.join(each.text for each in entries)}: a checksum or another field follows in"
        " a way that can't be played, or not every packet has it at the same place",
        "vary other fields, or make one packet at a time by --packet",
    )
