# SPDX-License-Identifier: Apache-2.0
"""Programs for packets of several kinds, UDP and TCP: a field lies at another place in each, or
another checksum follows it. Each program knows its packets by bytes that nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uspnet.errors import Usage
from uspnet.packets.fields.program import Only, Program
from uspnet.packets.frames import Template
from uspnet.packets.guard import at_most
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import COMPILE_S, Compiled, compile_one, like
from uspnet.packets.vary.place import Layout

KINDS_MAX = 16  # programs that look at each packet
WORD = 8  # bytes that they look at


def compile_kinds(
    templates: Sequence[Template], change: Change
) -> tuple[list[Template], list[Program]]:
    """Compile what changes in templates that Scapy made. Return the templates with the fields'
    first values, and the programs, of which one writes each packet. Raise Usage.
    """
    with at_most(COMPILE_S, "what varies takes too long to compile", "vary fewer fields"):
        kinds = [compile_one(templates[0], change)]
        made, of, refusal = [kinds[0].template], [0], None
        for each in templates[1:]:
            number, template, why = _find(each, kinds, of[-1])
            refusal = refusal or why
            if template is None:
                number, template = len(kinds), _add(each, change, kinds, why)
            made.append(template)
            of.append(number)
    if len(kinds) == 1:
        return made, [kinds[0].program]
    groups: dict[tuple[int, str], list[Template]] = {}
    for template, number in zip(made, of, strict=True):
        groups.setdefault((number, _stack(template)), []).append(template)
    programs = [replace(kinds[number].program) for number, _ in groups]
    if len(programs) > KINDS_MAX or not _tell_apart([*groups.values()], programs):
        raise refusal or Usage("--vary: packets are too unlike", "vary other fields")
    return made, programs


def _stack(template: Template) -> str:
    """Return the names of a packet's layers."""
    layers = template.packet().iterpayloads() if template.packet else ()
    return "/".join(type(each).__name__ for each in layers)


def _find(
    template: Template, kinds: Sequence[Compiled], nearest: int
) -> tuple[int, Template | None, Usage | None]:
    """Return the kind of a template, and the template with the fields' first values; or why it is
    not of the first kind that was tried, which is the nearest.
    """
    refusal = None
    for number in sorted(range(len(kinds)), key=lambda each: each != nearest):
        try:
            return number, like(template, kinds[number]), refusal
        except Usage as error:
            refusal = refusal or error
    return 0, None, refusal


def _add(
    template: Template, change: Change, kinds: list[Compiled], refusal: Usage | None
) -> Template:
    """Add the kind of a template. Return it with the fields' first values. Raise Usage."""
    try:
        if len(kinds) < KINDS_MAX:
            kinds.append(compile_one(template, change))
            return kinds[-1].template
    except Usage as error:
        raise refusal or error from None
    raise refusal or Usage(f"--vary: more than {KINDS_MAX} kinds of packets", "give fewer")


def _tell_apart(kinds: Sequence[Sequence[Template]], programs: Sequence[Program]) -> bool:
    """Have each program write its own kind of packets alone, which it knows by a byte, or a few in
    a row. Return whether there are such bytes.
    """
    templates = [each for kind in kinds for each in kind]
    fixed = [
        at
        for at in _fixed(kinds, programs)
        if all(len({each.frame[at] for each in kind}) == 1 for kind in kinds)
    ]
    rows = [[other for other in fixed if 0 <= other - at < WORD] for at in fixed]
    last = min(len(each.frame) for each in templates) - WORD
    for row in [*([at] for at in fixed), *rows]:
        at = min(row[0], last)
        mask = bytes(255 * (at + byte in row) for byte in range(WORD))
        words = [_masked(kind[0].frame, at, mask) for kind in kinds]
        if len(set(words)) == len(words):
            for program, word in zip(programs, words, strict=True):
                program.only = Only(at, word, mask)
            return True
    return False


def _masked(frame: bytes, at: int, mask: bytes) -> bytes:
    return bytes(a & b for a, b in zip(frame[at:], mask, strict=False))


def _fixed(kinds: Sequence[Sequence[Template]], programs: Sequence[Program]) -> list[int]:
    """Return the offsets of bytes of all headers that change neither by a program nor by the
    payload, nor follow a field that is broken.
    """
    templates = [each for kind in kinds for each in kind]
    sums = {check.at + byte for program in programs for check in program.checks for byte in (0, 1)}
    checks = (check for kind in kinds if kind[0].packet for check in Layout(kind[0]).checks)
    sums |= {check.at + byte for check in checks for byte in range(check.size)}
    end = min(len(each.frame) - each.payload for each in templates)
    found = [
        at
        for at in range(end)
        if at not in sums and not any(program.writes(at, 1) for program in programs)
    ]
    for each in templates:
        start = len(each.frame) - each.payload
        other = bytes(byte ^ 0x5A for byte in each.frame[start : start + 1])
        changed = each.rebuild(start, other) if other else each.frame
        found = [at for at in found if changed[at] == each.frame[at]]
    return found
