# SPDX-License-Identifier: Apache-2.0
"""Wrong command lines: what Typer's parser found becomes a Usage error in our own words."""

from __future__ import annotations

import re
from typing import Any

from typer.exceptions import TyperException

from uspnet.errors import Usage, UspnetError
from uspnet.text import did_you_mean
from uspnet.units import Unreadable

VALUE_SHOWN = 40  # characters
SECRET = re.compile(r"(secret\s*=).*", re.DOTALL | re.IGNORECASE)
EXTRA = re.compile(r"extra argument\(?s?\)? \((.*)\)$", re.DOTALL)


def mistake(error: TyperException, command: Any, args: list[str]) -> Usage:
    """Return the error as Usage. `command` is the group of all commands, `args` what it got."""
    context = getattr(error, "ctx", None)
    commands = getattr(command, "commands", {})
    known = [word for word in args[:1] if word in commands]
    where = context.command_path if context else " ".join(["uspnet", *known])
    hint = f"see: {where} --help"
    found = type(error).__name__
    if (cause := _cause(error)) is not None:
        message, hint = _bad_value(error, cause, hint)
    elif found == "NoSuchOption":
        message, hint = _no_option(error, context, where, hint)
    elif found == "MissingParameter":
        message = f"{_name(error)} is missing"
    elif found == "BadOptionUsage":
        message = f"{getattr(error, 'option_name', 'the option')} needs a value"
    elif match := EXTRA.search(error.format_message()):
        message = f"{where}: unexpected argument {match[1][:VALUE_SHOWN]!r}"
    elif not known and args:
        name = next((word for word in args if not word.startswith("-")), args[0])
        message = f"there is no command {name[:VALUE_SHOWN]!r}"
        hint = did_you_mean(name, commands, "{}") or hint
    else:
        message = error.format_message()
    return Usage(SECRET.sub(r"\1***", message), hint)  # a message may repeat a port


def _cause(error: TyperException) -> Exception | None:
    """Return what our reader of a value raised, below the errors of Typer and pydantic."""
    details = getattr(error.__cause__, "errors", None)
    found = details()[0] if details else {}
    cause = found.get("ctx", {}).get("error")
    return cause if isinstance(cause, Exception) else None


def _name(error: TyperException) -> str:
    """Return the option's name, or the argument's as help shows it."""
    parameter = getattr(error, "param", None)
    name = max(getattr(parameter, "opts", ()), key=len, default="")
    if name.startswith("-"):
        return str(name)
    return str(getattr(parameter, "metavar", None) or name.upper() or "the argument")


def _bad_value(error: TyperException, cause: Exception, hint: str) -> tuple[str, str]:
    """Return message and hint for a value that can't be read."""
    from uspnet.cli.foreign import VALUES

    if isinstance(cause, UspnetError):
        return cause.message, cause.hint
    value = str(error.__cause__.errors()[0]["input"])  # type: ignore[union-attr]
    start = f"{_name(error)} {value[:VALUE_SHOWN]!r}"
    if isinstance(cause, Unreadable):
        return f"{start}: {cause}", cause.hint or hint
    kind = getattr(getattr(error, "param", None), "type_descriptor", None)
    choices = [str(getattr(each, "value", each)) for each in getattr(kind, "choices", None) or ()]
    if not choices:
        return f"{start} can't be used", hint
    nearest = VALUES.get(_name(error), {}).get(value) or did_you_mean(value, choices, "{}")
    return f"{start} is none of {', '.join(choices)}", nearest or hint


def _no_option(error: TyperException, context: Any, where: str, hint: str) -> tuple[str, str]:
    """Return message and hint for an option that the command does not have."""
    from uspnet.cli.foreign import answer

    name = str(getattr(error, "option_name", ""))
    known = [
        option
        for parameter in (context.command.get_params(context) if context else ())
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    ]
    command = where.rpartition(" ")[2]
    hint = answer(command, name) or did_you_mean(name, known, "{}") or hint
    return f"{where} has no option {name[:VALUE_SHOWN]}", hint
