# SPDX-License-Identifier: Apache-2.0
"""What a board's header may hold, and how it is laid out. Who reads one trusts nothing in it.

A board begins with PREFIX; then comes the header, a JSON object; the counters stand at the end.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import NoReturn

from uspnet.port import Direction
from uspnet.sandbox.enforced import Enforced

# Magic, bytes of one `struct counters`, number of queues, bytes of the header; and nothing, so that
# the counters begin at a pair of cache lines.
PREFIX = struct.Struct("=8sIII108x")
REPLACED = struct.Struct("=II")  # upgrades and restarts so far, in what is nothing
REPLACED_AT = 20
WRITTEN = struct.Struct("=I")  # twice how often the header was written anew; odd: it is just now
WRITTEN_AT = REPLACED_AT + REPLACED.size
MAGIC = b"uspnet-4"
TEXT_MAX = 1 << 19  # bytes of the header
PORTS_MAX = 64
QUEUES_MAX = 1024
QUEUE_NUMBER_MAX = 65535
NAME_MAX = 8192  # characters of a port's name: it may hold the longest path that there is
WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)  # a command, a driver
PID_MAX = 1 << 22
TIME_MAX = 1 << 63
USER_MAX = (1 << 32) - 1
CAPABILITIES_MAX, ABI_MAX, CALLS_MAX, MISSING_MAX = 64, 255, 1024, 16
TEXT_LENGTH_MAX = 64  # characters of what is missing in a sandbox


@dataclass(frozen=True)
class PortRow:
    """One port of a job. `unknown`: the counters that it can't know."""

    port: str
    driver: str
    unknown: frozenset[str]


@dataclass(frozen=True)
class QueueRow:
    """Whose counters come next. `port`: its place among the ports."""

    port: int
    direction: Direction
    queue: int


@dataclass(frozen=True)
class Header:
    """A job, as its board describes it."""

    command: str
    pid: int
    started_ns: int
    ports: tuple[PortRow, ...]
    queues: tuple[QueueRow, ...]
    sandbox: Enforced | None


def parse(text: bytes, counters: Collection[str]) -> Header:
    """Parse the header. `counters`: the names that can be unknown. Raise ValueError."""
    try:
        data = json.loads(
            text,
            object_pairs_hook=_members,
            parse_constant=_refuse,
            parse_float=_refuse,
        )
    except RecursionError:
        raise ValueError("too deep") from None
    if type(data) is dict:
        data.setdefault("sandbox", None)  # jobs of uspnet 0.1 have none
    command, pid, started, ports, queues, sandbox = _fields(
        data, ("command", "pid", "started_ns", "ports", "queues", "sandbox")
    )
    header = Header(
        _word(command),
        _number(pid, 1, PID_MAX),
        _number(started, 0, TIME_MAX),
        tuple(_port(row, counters) for row in _list(ports, PORTS_MAX)),
        tuple(_queue(row) for row in _list(queues, QUEUES_MAX)),
        None if sandbox is None else _sandbox(sandbox),
    )
    if len(set(header.queues)) != len(header.queues):
        raise ValueError("a queue stands there twice")
    if any(row.port >= len(header.ports) for row in header.queues):
        raise ValueError("a queue of no port")
    return header


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no whole number")


def _fields(data: object, names: tuple[str, ...]) -> list[object]:
    """Return the members of an object that must have exactly these names."""
    if type(data) is not dict or data.keys() != set(names):
        raise ValueError(f"not an object of {', '.join(names)}")
    return [data[name] for name in names]


def _list(value: object, longest: int) -> list[object]:
    if type(value) is not list or len(value) > longest:
        raise ValueError(f"not a list of up to {longest}")
    return value


def _number(value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"not a number from {low} to {high}")
    return value


def _word(value: object) -> str:
    if type(value) is not str or not WORD.fullmatch(value):
        raise ValueError("not a word")
    return value


def _port(row: object, counters: Collection[str]) -> PortRow:
    name, driver, unknown = _fields(row, ("port", "driver", "unknown"))
    if type(name) is not str or not 0 < len(name) <= NAME_MAX:
        raise ValueError("not a port's name")
    unknown_names: set[str] = set()
    for counter in _list(unknown, len(counters)):
        if type(counter) is not str or counter not in counters:
            raise ValueError("no counter of that name")
        unknown_names.add(counter)
    return PortRow(name, _word(driver), frozenset(unknown_names))


def _queue(row: object) -> QueueRow:
    port, direction, queue = _fields(row, ("port", "direction", "queue"))
    if direction not in ("rx", "tx"):  # no set: what can't be hashed may stand there
        raise ValueError("neither rx nor tx")
    return QueueRow(_number(port, 0, PORTS_MAX), direction, _number(queue, 0, QUEUE_NUMBER_MAX))


def _sandbox(value: object) -> Enforced:
    names = tuple(each.name for each in fields(Enforced))
    user, capabilities, no_new_privs, landlock, seccomp, missing = _fields(value, names)
    if type(no_new_privs) is not bool:
        raise ValueError("neither true nor false")
    return Enforced(
        user=None if user is None else _number(user, 0, USER_MAX),
        capabilities=_number(capabilities, 0, CAPABILITIES_MAX),
        no_new_privs=no_new_privs,
        landlock=None if landlock is None else _number(landlock, 1, ABI_MAX),
        seccomp=None if seccomp is None else _number(seccomp, 0, CALLS_MAX),
        missing=[_text(each) for each in _list(missing, MISSING_MAX)],
    )


def _text(value: object) -> str:
    if type(value) is not str or not 0 < len(value) <= TEXT_LENGTH_MAX:
        raise ValueError("not a text")
    return value
