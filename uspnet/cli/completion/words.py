# SPDX-License-Identifier: Apache-2.0
"""Completions of the last word of a command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

from uspnet.cli.completion import candidates

ARGUMENTS = {  # parameters by name, and what lists the words that they may become
    "port": candidates.ports,
    "ports": candidates.ports,
    "rx_port": candidates.ports,
    "second_port": candidates.ports,
    "to": candidates.ports,
    "addresses": candidates.nics,
    "which": candidates.nics,
    "job": candidates.jobs,
    "other": candidates.files,
    "jobs_file": candidates.files,
    "mode": candidates.modes,
    "write": candidates.files,
    "control": candidates.files,
    "replay": candidates.files,
    "save": candidates.files,
    "plot": candidates.files,
    "output": candidates.files,
    "files": candidates.files,
    "export": candidates.files,
}


def completions(app: typer.Typer, words: list[str]) -> list[str]:
    """Return what the last of the words may become, in order."""
    group: Any = typer.main.get_command(app)
    *before, last = words or [""]
    name = next((word for word in before if not word.startswith("-")), None)
    if name is None:
        return _beginning(last, [*group.commands, *_options(group, last)])
    command = group.commands.get(name)
    return _of_command(command, before[before.index(name) + 1 :], last) if command else []


def _of_command(command: Any, before: list[str], last: str) -> list[str]:
    options = {name: each for each in command.params for name in each.opts if name[:1] == "-"}
    valued = {name for name, each in options.items() if not (each.is_flag or each.count)}
    option, equals, value = last.partition("=")
    if equals and option in valued:
        return [f"{option}={word}" for word in _values(options[option], value)]
    if before and before[-1] in valued and "--" not in before:
        return _values(options[before[-1]], last)
    if last.startswith("-") and "--" not in before:
        return _beginning(last, _options(command, last))
    given = _arguments(before, valued)
    free = [each for each in command.params if each.param_type_name == "argument"]
    if not free or (len(given) >= len(free) and free[-1].nargs == 1):
        return []
    parameter = free[min(len(given), len(free) - 1)]
    if parameter.name == "names":
        return candidates.registers(last, given[0])
    return _values(parameter, last)


def _arguments(before: list[str], valued: set[str]) -> list[str]:
    """Return the words that are neither options nor values of options."""
    found, skip, ended = [], False, False
    for word in before:
        if skip:
            skip = False
        elif word == "--" and not ended:
            ended = True
        elif word.startswith("-") and not ended:
            skip = word in valued
        else:
            found.append(word)
    return found


def _options(command: Any, last: str) -> list[str]:
    """Return long options, and after a single dash also short ones."""
    names = [
        name
        for each in command.params
        if not getattr(each, "hidden", False)
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("--") or (last == "-" and name.startswith("-"))
    ]
    return [*names, "--help"] if last.startswith("-") else []


def _values(parameter: Any, last: str) -> list[str]:
    """Return completions of the value of an option or argument."""
    if parameter.name in ARGUMENTS:
        return ARGUMENTS[parameter.name](last)
    choices = getattr(parameter.type_descriptor, "choices", None) or ()
    return _beginning(last, (str(each.value) for each in choices))


def _beginning(last: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(last)]
