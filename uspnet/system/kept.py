# SPDX-License-Identifier: Apache-2.0
"""What a process keeps when it executes another version of its program: descriptors, and a state
that describes them.

The state is JSON in a sealed memfd. A variable of the environment has that descriptor's number.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass, field

from uspnet.answer import Json
from uspnet.errors import Malformed
from uspnet.system.sealed import read_sealed, sealed

VARIABLE = "USPNET_KEPT"
FORMAT = 1  # of the state, and of the names and meanings of descriptors
BYTES_MAX = 1 << 24
FDS_MAX = 4096
ANEW = "stop the job, and start the new version"  # what to do when it can't go on as that


@dataclass
class State:
    """What a job of the version before has left. `words`: its command line. `fds`: its descriptors,
    by names. `count`, `duration`: what is left of its limits, in packets and seconds; None: it has
    none. `before`: the results until then. `server`: of which `fds` have the fork server.
    """

    format: int = FORMAT
    pid: int = 0
    version: str = ""
    began_ns: int = 0  # CLOCK_MONOTONIC, when its loops were asked to stop
    expected_us: float = 0.0  # as it was said beforehand, from then until loops run again
    dropped: int = 0  # packets that it dropped in that time
    upgrades: int = 0
    count: int | None = None
    duration: float | None = None
    words: list[str] = field(default_factory=list)
    before: list[Json] = field(default_factory=list)
    fds: dict[str, int] = field(default_factory=dict)
    server: Json | None = None

    def write(self) -> int:
        """Write it to a new memfd, and return that. Raises OSError, also where `begin` would not
        read it.
        """
        text = json.dumps(asdict(self)).encode()
        if len(text) > BYTES_MAX or len(self.fds) > FDS_MAX:
            raise OSError(errno.E2BIG, "what it would go on with is too much")
        return sealed("uspnet-kept", text)

    def full(self) -> bool:
        """Return whether the results until then take so much room that those of another version may
        have none.
        """
        return len(json.dumps(self.before)) > BYTES_MAX // 2

    def take(self, name: str) -> int:
        """Return a descriptor, which is the caller's from then on; -1: there is none of that
        name.
        """
        return self.fds.pop(name, -1)

    def close(self) -> None:
        """Close the descriptors that nobody has taken."""
        while self.fds:
            os.close(self.fds.popitem()[1])


_now: list[State] = []


def former() -> State | None:
    """Return what the version before has left; None: this one was started as usual."""
    return _now[-1] if _now else None


def adopt(state: State) -> None:
    """Have this process go on with a state."""
    _now[:] = [state]


def take(name: str) -> int:
    """Return a descriptor that was kept; -1: there is none of that name."""
    return _now[-1].take(name) if _now else -1


def begin(environment: MutableMapping[str, str]) -> State | None:
    """Adopt what the version before has left, if it has. Raises Malformed."""
    number = environment.pop(VARIABLE, None)
    if number is None:
        return None
    try:
        fd = int(number) if number.isascii() and number.isdecimal() else -1
        state = _parse(read_sealed(fd, BYTES_MAX))
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        text = f"{VARIABLE}={number[:20]} names no state of a uspnet: {error}"
        raise Malformed(text, f"start it without that: unset {VARIABLE}") from None
    os.close(fd)
    adopt(state)
    return state


def _parse(text: bytes) -> State:
    """Return the state. Raises ValueError and OSError."""
    said = json.loads(text)
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ValueError("it is of another version")
    match said:
        case {
            "pid": int(pid),
            "version": str(),
            "began_ns": int(),
            "expected_us": int() | float(),
            "dropped": int(),
            "upgrades": int(),
            "count": int() | None as count,
            "duration": int() | float() | None as duration,
            "words": [*words],
            "before": [*before],
            "fds": dict(fds),
            "server": dict() | None,
        } if len(said) == len(asdict(State())):
            pass
        case _:
            raise ValueError("something is missing in it")
    if pid != os.getpid():
        raise ValueError(f"it is process {pid}'s")
    if not (count is None or count > 0) or not (duration is None or duration > 0):
        raise ValueError("its limits are none")
    if not all(isinstance(word, str) for word in words):
        raise ValueError("its command line is none")
    if not all(isinstance(each, dict) for each in before):
        raise ValueError("its results are none")
    _check_fds(fds)
    return State(**said)


def _check_fds(fds: Json) -> None:
    """Check that the descriptors are open, and have no other program inherit them."""
    numbers = list(fds.values())
    if len(numbers) > FDS_MAX or not all(type(each) is int and each > 2 for each in numbers):
        raise ValueError("its descriptors are none")
    if len(set(numbers)) < len(numbers):
        raise ValueError("a descriptor stands there twice")
    for number in numbers:
        os.set_inheritable(number, False)
