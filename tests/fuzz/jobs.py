# SPDX-License-Identifier: Apache-2.0
"""Fuzz target: files of jobs, as far as they are read before a command checks its words."""

from __future__ import annotations

from types import SimpleNamespace

from uspnet.cli.jobs_file.entries import SHARED
from uspnet.cli.jobs_file.tree import (
    DEPTH_MAX,
    TEXT_MAX,
    List,
    Mapping,
    Place,
    Scalar,
    named,
    parse,
)
from uspnet.cli.jobs_file.words import Reader
from uspnet.errors import Usage

PLACE = Place("jobs.yaml")


def option(name, **more):
    kind = {"is_flag": False, "count": False, "multiple": False, "metavar": "N"}
    return SimpleNamespace(name=name, opts=[f"--{name}"], **{**kind, "secondary_opts": [], **more})


COMMAND = SimpleNamespace(
    name="fwd",
    params=[
        option("mode"),
        option("cores", metavar="LIST"),
        option("reconnect", is_flag=True, secondary_opts=["--no-reconnect"]),
        option("verbose", is_flag=True, count=True),
        option("packet", multiple=True),
        option("fail-on-loss"),
    ],
)


def one(data: bytes) -> None:
    """Parse a file, and read each mapping in it as a job; what is wrong is told with its line."""
    try:
        tree = parse(data, PLACE)
        check(tree, 0)
        for mapping in mappings(tree):
            read(mapping)
    except Usage as error:
        text = error.message
        if not (text.startswith("jobs.yaml:") and text.isprintable() and len(text) < 1000):
            raise AssertionError("it doesn't say where") from error
        if not error.hint:
            raise AssertionError("it doesn't say what to do") from error


def read(mapping: Mapping) -> None:
    reader = Reader(PLACE, "a", COMMAND)
    for key, (line, value) in named(mapping).items():
        if key == "fwd":
            reader.ports(line, value)
        elif key not in SHARED:
            reader.option(key, line, value)
    words = reader.words.all()
    assert all("\0" not in word for word in words)
    assert "\0".join(words).encode()


def mappings(node):
    if isinstance(node, Mapping):
        yield node
        for value in node.items.values():
            yield from mappings(value)


def check(node, depth: int) -> None:
    """No part of a tree is larger than it may be, nor beyond the file's lines."""
    assert depth <= DEPTH_MAX
    assert node.line >= 1
    if isinstance(node, Scalar):
        assert len(node.text) <= TEXT_MAX
    for item in node.items if isinstance(node, List) else ():
        check(item, depth + 1)
    for key, value in node.items.items() if isinstance(node, Mapping) else ():
        assert isinstance(key, Scalar)
        check(value, depth + 1)
