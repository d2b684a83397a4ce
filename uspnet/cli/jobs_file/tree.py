# SPDX-License-Identifier: Apache-2.0
"""YAML as a tree of texts with their lines.

Only the parser's events are used: no value is made of a text, so `no` stays a text, and no tag is
obeyed. Anchors and aliases are refused, and so is what is too large or too deep, before any memory
goes into it.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from uspnet.errors import Refused, Usage
from uspnet.text import did_you_mean, printable

Event = Any  # of PyYAML, which has no types

FILE_MAX = 256 << 10  # bytes
TEXT_MAX = 4096  # characters of a key or a value
DEPTH_MAX = 5  # the file, `jobs`, a job, a list, and in it a port that was not quoted
LINE_TABS = re.compile(r"^[ \t]+", re.MULTILINE)
QUOTE = "check the indentation; quote a value that ends with a colon, or has a # or ': ' in it"
PLAIN = "write one document of plain keys, values and lists"


@dataclass(frozen=True)
class Scalar:
    """A text. `quoted`: it stands in quotes."""

    text: str
    line: int
    quoted: bool = False

    def is_empty(self) -> bool:
        """Return whether nothing stands there."""
        return not self.quoted and self.text in {"", "~", "null"}


@dataclass(frozen=True)
class List:
    """A list. `inline`: in brackets."""

    items: list[Node]
    line: int
    inline: bool = False


@dataclass(frozen=True)
class Mapping:
    """Keys with their values, in order."""

    items: dict[Scalar, Node]
    line: int


Node = Scalar | List | Mapping


class Place:
    """Where a message says that something is wrong: the file's name, and a line."""

    def __init__(self, name: str) -> None:
        self.name = "stdin" if name == "-" else name

    def wrong(self, line: int, text: str, hint: str) -> Usage:
        """Return the error for this line."""
        return Usage(f"{self.name}:{line}: {text}", hint)


def read_bytes(name: str, what: str = "jobs") -> bytes:
    """Read a file, `-` being stdin, up to its limit. `what`: it is a file of that. Raises Usage,
    Refused.
    """
    try:
        if name == "-":
            data = sys.stdin.buffer.read(FILE_MAX + 1)
        else:
            with open(name, "rb") as file:
                _check_writers(name, os.fstat(file.fileno()))
                data = file.read(FILE_MAX + 1)
    except OSError as error:
        raise Usage(f"{name}: {error.strerror}", f"name a file of {what}: {what}.yaml") from None
    if len(data) > FILE_MAX:
        text = f"{Place(name).name} is larger than {FILE_MAX >> 10} KiB"
        raise Usage(text, f"is it a file of {what}? split it into several, for several runs")
    return data


def _check_writers(name: str, status: os.stat_result) -> None:
    """Raise Refused if everybody may write what this user would run."""
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise Refused(f"{name}: every user may change it", f"chmod o-w {shlex.quote(name)}")


def read_tree(name: str, what: str = "jobs") -> Mapping:
    """Read a file of jobs, or of what is said, as a tree, which is a mapping. Raises Usage with the
    line, Refused.
    """
    return parse(read_bytes(name, what), Place(name), what)


def parse(data: bytes, place: Place, what: str = "jobs") -> Mapping:
    """Parse what a file holds. Raises Usage with the line."""
    text = _decoded(data, place)
    if text.lstrip().startswith("{"):  # JSON may be indented by tabs, which YAML forbids
        text = LINE_TABS.sub(" ", text)
    loader: Event = None
    try:
        loader = yaml.SafeLoader(text)
        tree = _Builder(place, _events(loader)).whole()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = printable(str(error.problem or error.context or "not YAML"))
        raise place.wrong(mark.line + 1 if mark else 1, what, QUOTE) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise place.wrong(line, f"a character that YAML forbids: U+{error.character:04X}",
                          "remove it") from None  # fmt: skip
    except Usage:
        raise
    except (ValueError, OverflowError):  # numbers that PyYAML itself can't read: \\UFFFFFFFF
        line = loader.get_mark().line + 1
        raise place.wrong(line, "a number in it is too large for YAML", QUOTE) from None
    if not isinstance(tree, Mapping):
        raise place.wrong(tree.line, "not a mapping of keys", f"begin with a line: {what}:")
    return tree


def _events(loader: Event) -> Iterator[Event]:
    while loader.check_event():
        yield loader.get_event()


def _decoded(data: bytes, place: Place) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise place.wrong(line, "not UTF-8", "save it as UTF-8") from None


class _Builder:
    """Makes the tree of the parser's events, one at a time, so that nothing large is ever built."""

    def __init__(self, place: Place, events: Iterator[Event]) -> None:
        self.place, self.events = place, events

    def whole(self) -> Node:
        """Return the tree of the only document."""
        tree: Node = Scalar("", 1)
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._wrong(event, "a second document begins")
                tree = self._node(next(self.events), 0)
        return tree

    def _wrong(self, event: Event, text: str) -> Usage:
        return self.place.wrong(event.start_mark.line + 1, text, PLAIN)

    def _node(self, event: Event, depth: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._wrong(event, "anchors and aliases (& and *) are not supported")
        if event.tag is not None:
            raise self._wrong(event, f"tags ({printable(event.tag, 40)}) are not supported")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(self._checked(event), line, event.style is not None)
        if depth == DEPTH_MAX:
            raise self._wrong(event, "lists and mappings are nested too deep")
        if isinstance(event, yaml.SequenceStartEvent):
            items = list(self._until(yaml.SequenceEndEvent, depth))
            return List(items, line, bool(event.flow_style))
        return Mapping(self._members(depth), line)

    def _checked(self, event: Event) -> str:
        """Return a text that can be a word of a command line."""
        text = str(event.value)
        if len(text) > TEXT_MAX:
            raise self._wrong(event, f"a text is longer than {TEXT_MAX:,} characters")
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise self._wrong(
                event, f"{printable(text, 40)!r} has a character that no option takes"
            )
        return text

    def _until(self, end: type, depth: int) -> Iterator[Node]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield self._node(event, depth + 1)

    def _members(self, depth: int) -> dict[Scalar, Node]:
        found: dict[Scalar, Node] = {}
        names: dict[str, int] = {}
        nodes = self._until(yaml.MappingEndEvent, depth)
        for key in nodes:
            if not isinstance(key, Scalar):
                raise self.place.wrong(key.line, "a key is a list or a mapping", PLAIN)
            if key.text in names:
                text = (
                    f"{printable(key.text, 40)!r} is there twice, first in line {names[key.text]}"
                )
                raise self.place.wrong(key.line, text, "keep one of them")
            names[key.text] = key.line
            found[key] = next(nodes)
        return found


def below(place: Place, tree: Mapping, key: str) -> tuple[int, Node]:
    """Return line and value of the only key that a file may have; an empty one without it. Raises
    Usage.
    """
    keys = named(tree)
    for each, (line, _) in keys.items():
        if each != key:
            hint = did_you_mean(each, [key]) or f"put {key} below one key: {key}:"
            raise place.wrong(line, f"unknown key {printable(each, 40)!r}", hint)
    return keys.get(key, (tree.line, Scalar("", tree.line)))


def named(mapping: Mapping) -> dict[str, tuple[int, Node]]:
    """Return line and value of each key."""
    return {key.text: (key.line, value) for key, value in mapping.items.items()}
