# SPDX-License-Identifier: Apache-2.0
"""A file of jobs, checked by the commands themselves as far as that goes without running them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import typer
from typer.exceptions import TyperException

from uspnet import units
from uspnet.answer import Json
from uspnet.cli.jobs_file.tree import List, Node, Place, Scalar, below, named, read_tree
from uspnet.cli.jobs_file.tree import Mapping as Tree
from uspnet.cli.jobs_file.words import SHARED, Click, Reader, Words, runs
from uspnet.errors import Refused, Usage, UspnetError
from uspnet.jobs.supervise.entry import Entry, Restart, RestartLimit
from uspnet.text import did_you_mean, printable

if TYPE_CHECKING:
    from uspnet.jobs.job import AnyJob

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
SELF = "uspnet"  # names the supervisor in the log
JOBS_MAX = 64
LIMIT = re.compile(r"([0-9]{1,4}) in (.+)")
DELAY_MAX_S, WITHIN_MAX_S = 3600.0, 7 * 86400.0
EXAMPLE = "write a job: edge: {fwd: [memif:/run/a.sock, packet:eth1]}"
OPTION, WORD = re.compile(r"--([a-z][a-z-]*)"), re.compile(r"\b[a-z][a-z-]*")


def read_entries(name: str, group: Click) -> list[Entry]:
    """Read and check a file of jobs; `-` is stdin. `group`: all commands. Raises Usage."""
    place = Place(name)
    line, jobs = below(place, read_tree(name), "jobs")
    if not isinstance(jobs, Tree) or not jobs.items:
        raise place.wrong(line, "jobs: names no job", EXAMPLE)
    if len(jobs.items) > JOBS_MAX:
        raise place.wrong(line, f"jobs: more than {JOBS_MAX}", "split the file, for several runs")
    entries = [_entry(place, key, value, group) for key, value in jobs.items.items()]
    _check_order(place, entries)
    return entries


def _entry(place: Place, key: Scalar, value: Node, group: Click) -> Entry:
    """Read one job."""
    name, commands = key.text, runs(group)
    if not NAME.fullmatch(name) or name == SELF:
        text = f"{printable(name, 40)!r} can't be a job's name"
        raise place.wrong(key.line, text, "use up to 32 small letters, digits, - and _")
    if not isinstance(value, Tree):
        raise place.wrong(key.line, f"{name}: says nothing to run", EXAMPLE)
    keys = named(value)
    chosen = [each for each in keys if each in commands]
    if len(chosen) != 1:
        raise _no_command(place, name, key.line, chosen, keys, list(commands))
    command = commands[chosen[0]]
    reader = Reader(place, name, command)
    shared: Json = {}
    for each, (line, node) in keys.items():
        if each == command.name:
            reader.ports(line, node)
        elif each not in SHARED:
            reader.option(each, line, node)
        elif each in OWN:
            shared |= _own_or_shared(reader, each, line, node)
        else:
            shared |= _shared(reader, each, line, node)
    lines = {**reader.words.lines, command.name: keys[command.name][0]}
    on_trial_with(place, name, command, group, replace(reader.words, lines=lines))
    return Entry(name, command.name, tuple(reader.words.all()), line=key.line, **shared)


def _no_command(
    place: Place,
    name: str,
    line: int,
    chosen: list[str],
    keys: Mapping[str, Click],
    known: list[str],
) -> Usage:
    """Return the error for a job with no command, or several."""
    listed = ", ".join(known)
    if chosen:
        text = f"{name}: {' and '.join(chosen)} are two commands"
        return place.wrong(line, text, "make two jobs of it")
    for key, (at, _) in keys.items():
        if nearest := did_you_mean(key, known):
            return place.wrong(at, f"{name}: there is no command {printable(key, 40)!r}", nearest)
    return place.wrong(line, f"{name}: has no command", f"give it one of {listed}")


# -- keys of every job -------------------------------------------------------------------------


def _is_time(text: str) -> bool:
    """Return whether it is a time with its unit."""
    with contextlib.suppress(units.Unreadable):
        return not text[-1:].isdecimal() and units.duration(text) >= 0
    return False


OWN = {"restart": str.isdecimal, "after": _is_time}  # such a value is of the command's own option
SEVERAL = {
    "restart": (
        "restart: has several words, or several numbers",
        "write restart: [on-failure, 3], or one of the two",
    ),
    "after": ("after: has several times", "write after: [NAME, 10s]"),
}


def _own_or_shared(reader: Reader, key: str, line: int, value: Node) -> Json:
    """Read `restart` or `after`: words for the whole job, a number or a time for the option of that
    name which the command has, or both.
    """
    items = value.items if isinstance(value, List) else [value]
    own = [
        item
        for item in items
        if isinstance(item, Scalar) and key in reader.known and OWN[key](item.text)
    ]
    words = [item for item in items if item not in own]
    if len(own) > 1 or (key == "restart" and len(words) > 1):
        raise reader.wrong(line, *SEVERAL[key])
    for item in own:
        reader.option(key, line, item)
    if not words:
        return {}
    return _shared(reader, key, line, words[0] if key == "restart" else List(words, line))


def _shared(reader: Reader, key: str, line: int, value: Node) -> Json:
    """Read a key that every job has, as the fields of an Entry."""
    if key == "after":
        items = value.items if isinstance(value, List) else [value]
        return {"after": tuple(dict.fromkeys(_text(reader, key, line, item) for item in items))}
    text = _text(reader, key, line, value)
    if key == "restart":
        if text not in {each.value for each in Restart}:
            hint = did_you_mean(text, [*Restart]) or "write restart: on-failure"
            choices = ", ".join(Restart)
            raise reader.wrong(line, f"restart: {text[:40]!r} is none of {choices}", hint)
        return {"restart": Restart(text)}
    try:
        if key == "restart-delay":
            return {"delay_s": units.time_between(0.0, DELAY_MAX_S)(text)}
        match = LIMIT.fullmatch(text)
        if not match:
            raise units.Unreadable("not a number and a time")
        within = units.time_between(1.0, WITHIN_MAX_S)(match[2])
    except units.Unreadable as error:
        hint = "write 5 in 10m" if key == "restart-limit" else error.hint
        raise reader.wrong(line, f"{key}: {text[:40]!r}: {error}", hint) from None
    return {"limit": RestartLimit(int(match[1]), within)}


def _text(reader: Reader, key: str, line: int, value: Node) -> str:
    if not isinstance(value, Scalar) or value.is_empty():
        hint = {"after": "write after: [NAME]", "restart-limit": "write restart-limit: 5 in 10m"}
        raise reader.wrong(line, f"{key}: has no value, or more than one",
                           hint.get(key, f"write {key}: VALUE, or drop it"))  # fmt: skip
    return value.text


def _check_order(place: Place, entries: list[Entry]) -> None:
    """Raise Usage if jobs wait for one that is not there, or for each other."""
    known = {entry.name: entry for entry in entries}
    for entry in entries:
        for name in entry.after:
            if name not in known:
                text = f"{entry.name}: after: there is no job {printable(name, 40)!r}"
                hint = did_you_mean(name, known) or f"write one of {', '.join(known)}"
                raise place.wrong(entry.line, text, hint)
    for entry in entries:
        if entry.name in _before(entry, known):
            text = f"{entry.name}: after: it would wait for itself"
            raise place.wrong(entry.line, text, "break the circle of after")


def _before(entry: Entry, known: Mapping[str, Entry]) -> set[str]:
    """Return the jobs that this one waits for, also through others."""
    found: set[str] = set()
    rest = list(entry.after)
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest += known[name].after
    return found


# -- the command's own checks ------------------------------------------------------------------


def on_trial_with(place: Place, name: str, command: Click, group: Click, words: Words) -> AnyJob:
    """Have the command parse its words and make its job, which is not run. Return the job. Raises
    Usage.
    """
    from uspnet.cli.mistakes import mistake
    from uspnet.cli.trial import on_trial

    line = words.lines[command.name]
    given = ["--json", "--quiet", *words.all()]
    parent = typer.Context(group, info_name="uspnet")
    try:
        with on_trial() as jobs:
            context = command.make_context(command.name, given, parent=parent)
            with context:
                command.invoke(context)
    except TyperException as error:
        found: UspnetError = mistake(error, group, [command.name, *given])
        line = next(iter(_lines_of(getattr(error, "param", None), words)), line)
    except UspnetError as error:
        found = error
        named_keys = [*OPTION.findall(error.message), *WORD.findall(error.message)]
        line = next((words.lines[key] for key in named_keys if key in words.lines), line)
    else:
        if jobs:
            return jobs[0]
        found = Usage("it runs no job", "drop the option that has it print something instead")
    first, *rest = found.lines
    wrong = Refused if isinstance(found, Refused) else Usage
    raise wrong(f"{place.name}:{line}: {name}: {first}", found.hint, rest)


def _lines_of(parameter: Click, words: Words) -> Iterator[int]:
    """Yield the lines in which a parameter of the command stands."""
    for option in (*getattr(parameter, "opts", ()), *getattr(parameter, "secondary_opts", ())):
        if found := words.lines.get(option.removeprefix("--")):
            yield found
