# SPDX-License-Identifier: Apache-2.0
"""A job of a file as the words of a command line. Which keys there are, and what they take, is what
the command's own parameters say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from uspnet.cli.jobs_file.tree import List, Node, Place, Scalar
from uspnet.cli.mistakes import SECRET
from uspnet.text import did_you_mean, printable

Click = Any  # a group, command or parameter of Typer's, which it has no types for

OURS = frozenset({"json", "quiet"})  # given by run itself
YES, NO = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})
SHARED = ("restart", "restart-delay", "restart-limit", "after")  # keys of every job
SHOWN = 40  # characters of a wrong word
OPTION = re.compile(r"^[a-z-]+=")  # of a port, behind a comma


@dataclass
class Words:
    """The words of one job. `lines`: where its options stand, by their long names."""

    options: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def all(self) -> list[str]:
        """Return them in an order in which no value is taken for an option."""
        return [*self.options, "--", *self.ports]


def runs(group: Click) -> dict[str, Click]:
    """Return the commands that run packets, by name: those that take cores."""
    return {
        name: command
        for name, command in group.commands.items()
        if any(each.name == "cores" for each in command.params)
    }


def long_options(command: Click) -> dict[str, Click]:
    """Return the command's options by the keys that stand for them, with opposites."""
    return {
        name.removeprefix("--"): each
        for each in command.params
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("--") and name.removeprefix("--") not in OURS
    }


class Reader:
    """Reads the keys of one job: those of `only`, if that is given. `more`: the keys that it has
    besides the command's options.
    """

    def __init__(
        self,
        place: Place,
        job: str,
        command: Click,
        only: Collection[str] | None = None,
        more: Sequence[str] = SHARED,
    ) -> None:
        self.place, self.job, self.command, self.more = place, job, command, more
        every = long_options(command)
        self.known = {name: every[name] for name in every if only is None or name in only}
        self.what = command.name if only is None else "a stream"
        self.words = Words()

    def wrong(self, line: int, text: str, hint: str) -> Exception:
        """Return the error for a line of this job."""
        return self.place.wrong(line, f"{self.job}: {text}", hint)

    def ports(self, line: int, value: Node) -> None:
        """Read the value of the command's own key: its port, or a list of ports."""
        items = value.items if isinstance(value, List) else [value]
        name = self.command.name
        for item in items:
            if not isinstance(item, Scalar):
                hint = f'quote a port that ends with a colon: {name}: "null:"'
                raise self.wrong(item.line, f"{name}: not a port", hint)
            inline = isinstance(value, List) and value.inline and not item.quoted
            if inline and OPTION.match(item.text):
                shown = SECRET.sub(r"\1***", printable(item.text, SHOWN))
                text = f"{name}: {shown!r} is an option of a port"
                hint = "inside [ ] a comma ends an item: quote the port, with its options"
                raise self.wrong(item.line, text, hint)
            if not item.is_empty():
                self.words.ports.append(item.text)
        if not self.words.ports:
            raise self.wrong(line, f"{name}: names no port", f"{name}: packet:eth1")

    def option(self, key: str, line: int, value: Node) -> None:
        """Read one option. Raises Usage if the command has none of this name."""
        option = self.known.get(key)
        if option is None:
            raise self.wrong(line, f"{self.what} has no {printable(key, SHOWN)!r}",
                             self._hint(key))  # fmt: skip
        self.words.lines[key] = line
        if option.is_flag and not option.count:
            self._flag(key, option, line, value)
        elif isinstance(value, List) and option.metavar == "LIST":
            items = [self.text(key, item) for item in value.items]
            self.words.options.append(f"--{key}={','.join(items)}")
        elif isinstance(value, List) and option.multiple and value.items:
            for item in value.items:
                self._value(key, option, item)
        else:
            self._value(key, option, value)

    def _flag(self, key: str, option: Click, line: int, value: Node) -> None:
        text = self.text(key, value).lower()
        if text not in YES | NO:
            raise self.wrong(line, f"{key}: {text[:SHOWN]!r} is neither yes nor no",
                             f"write {key}: yes, or {key}: no")  # fmt: skip
        name, opposite = f"--{key}", option.secondary_opts
        if text in YES:
            self.words.options.append(name)
        elif opposite:
            self.words.options.append((option.opts if name in opposite else opposite)[0])

    def _value(self, key: str, option: Click, value: Node) -> None:
        from uspnet.cli.command import OPTIONAL

        text = self.text(key, value)
        name = f"--{key}"
        if name in OPTIONAL and text.lower() in YES:
            self.words.options.append(name)
        elif option.count:
            times = {"true": 1, "yes": 1, "on": 1}.get(text.lower(), text)
            if str(times) not in {"0", "1", "2"}:
                raise self.wrong(value.line, f"{key}: {text[:SHOWN]!r} is not 0, 1 or 2",
                                 f"write {key}: 1")  # fmt: skip
            self.words.options += [name] * int(times)
        else:
            self.words.options.append(f"{name}={text}")

    def text(self, key: str, value: Node) -> str:
        """Return the one value of a key. Raises Usage."""
        if not isinstance(value, Scalar):
            raise self.wrong(value.line, f"{key}: takes one value", f"write {key}: VALUE")
        if value.is_empty():
            raise self.wrong(value.line, f"{key}: has no value", f"write {key}: VALUE, or drop it")
        return value.text

    def _hint(self, key: str) -> str:
        """Return what to write instead of an unknown key."""
        from uspnet.cli.foreign import answer

        short = [n for n, each in self.known.items() if f"-{key}" in each.opts]
        if key in OURS:
            return f"drop it: run takes {key!r} for all jobs"
        if key == "interface":
            return f"write {self.command.name}: packet:IFNAME"
        if short:
            return f"write its long name: {short[0]}"
        found = answer(self.command.name, f"--{key}")
        nearest = did_you_mean(key.removeprefix("--"), [*self.known, *self.more])
        return found or nearest or f"see: uspnet {self.command.name} --help"
