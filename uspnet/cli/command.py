# SPDX-License-Identifier: Apache-2.0
"""Commands as Typer makes them, and habits of other tools that its parser does not know."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

OPTIONAL = {"--fail-on-loss": "0%"}  # options whose value may be left out, and what stands for it
INTERFACE = "uspnet.interface"  # in the context's meta: what -i named
SCHEME = re.compile(r"[a-z][a-z0-9-]*:")


class Command(TyperCommand):
    """A command that also takes `-i IFNAME` for its port, and options with an optional value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line of this command."""
        return super().parse_args(ctx, self._rewritten(ctx, list(args)))

    def _rewritten(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments as the parser knows them: `-i eth0` becomes the port `packet:eth0`."""
        names = {option for parameter in self.params for option in parameter.opts}
        valued = {
            option
            for parameter in self.params
            if not getattr(parameter, "is_flag", True) and not getattr(parameter, "count", True)
            for option in parameter.opts
        }
        interface = bool(_port(self)) and "-i" not in names
        done: list[str] = []
        while args and args[0] != "--":
            word = args.pop(0)
            if word in OPTIONAL and word in names:
                word = f"{word}={OPTIONAL[word]}"
            if interface and (found := _interface(word, args)) is not None:
                ctx.meta[INTERFACE] = found
                word = found if SCHEME.match(found) else "packet:" + found.replace(",", "\\,")
            done.append(word)
            if word in valued and args:
                done.append(args.pop(0))
        return done + args


def _port(command: Any) -> Any:
    """The command's argument, when it is one port that packets come from or go to."""
    if command.name not in {"capture", "pktgen"}:
        return None
    return next((each for each in command.params if each.name == "port"), None)


def _interface(word: str, rest: list[str]) -> str | None:
    """What `-i` names, if the word is that option; its value is taken from the rest."""
    if word in {"-i", "--interface"}:
        return rest.pop(0) if rest else None
    if word.startswith("--interface="):
        return word.partition("=")[2]
    return word[2:] if word.startswith("-i") and len(word) > 2 else None


class App(typer.Typer):
    """An application whose commands are of our kind."""

    def command(self, name: str | None = None, **how: Any) -> Callable[[Any], Any]:
        """Register a function as a command."""
        return super().command(name, cls=Command, **how)
