# SPDX-License-Identifier: Apache-2.0
"""A command's process goes on as another version of uspnet: the same process, terminal and command
line, with what the version before has kept for it (`system/kept.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer
from typer.exceptions import TyperException

import uspnet
from uspnet import __version__
from uspnet.answer import Json
from uspnet.cli.arguments import hidden
from uspnet.errors import DeviceFault, UspnetError
from uspnet.jobs.job import AnyJob
from uspnet.jobs.upgrade import Upgraded
from uspnet.system import kept
from uspnet.system.signals import end_signals


def check(control: int) -> None:
    """Say on a socket whether this version can go on with a command line. Versions before and after
    this one call it, too.
    """
    from uspnet.process.protocol import receive, send

    with socket.socket(fileno=control) as ours:
        message, _ = receive(ours)
        words = [] if isinstance(message, bytes) else [str(word) for word in message["words"]]
        send(ours, _examined(words))


def _examined(words: list[str]) -> Json:
    from uspnet.cli import app
    from uspnet.cli.mistakes import mistake
    from uspnet.cli.trial import on_trial

    kept.adopt(kept.State())  # who started the job has agreed to what it does
    command = typer.main.get_command(app)
    try:
        with on_trial() as jobs:
            command(words, prog_name="uspnet", standalone_mode=False)
    except TyperException as error:
        return mistake(error, command, words).as_dict()
    except UspnetError as error:
        return error.as_dict()
    return {
        "format": kept.FORMAT,
        "version": __version__,
        "files": [str(Path(uspnet.__file__).parent), *filter(os.path.isdir, sys.path)],
        "ports": [port.name for job in jobs for port in job.ports],
    }


def leave(state: kept.State, program: list[str], environment: Mapping[str, str]) -> UspnetError:
    """Execute a program that goes on with this command. Returns why that is not possible; then the
    state is adopted, with which this version can go on.
    """
    from uspnet.fastpath import lib

    fds = [*state.fds.values()]
    try:
        fds.append(state.write())
        for fd in fds:
            os.set_inheritable(fd, True)
        if error := lib.capabilities_inherit():
            raise OSError(error, os.strerror(error))
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        variables = {**os.environ, **environment, kept.VARIABLE: str(fds[-1])}
        words = [*program, *map(hidden, state.words)]
        os.execve(program[0], words, variables)  # noqa: S606 - checked
    except OSError as error:
        for fd in fds:
            os.set_inheritable(fd, False)
        for fd in fds[len(state.fds) :]:
            os.close(fd)
        return _stay(state, f"{program[0]} can't be executed: {error.strerror}; the job goes on")


def _stay(state: kept.State, why: str) -> UspnetError:
    """Have this version go on, and tell who has asked for another."""
    from uspnet.process.successor import Successor

    error = DeviceFault(f"{why} as it was, after a gap", "see: uspnet stats")
    if (fd := state.take("client")) >= 0:
        _answer(fd, error.as_dict())
    if server := Successor.kept(state):
        server.close()
    state.server, state.upgrades = None, state.upgrades - 1
    kept.adopt(state)
    return error


def hold_signals() -> None:
    """Hold signals back that end a command, until `ended_by_signals` of the version that goes on:
    nobody handles them meanwhile.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, end_signals())


def holds(number: int) -> bool:
    """Return whether signals are held back. Then one that another thread got waits, too."""
    held = number in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if held:
        signal.raise_signal(number)
    return held


def let_signals() -> None:
    """Handle them again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, end_signals())


@contextlib.contextmanager
def signals_let() -> Iterator[None]:
    """Handle those again that the version before has held back."""
    if kept.former():
        let_signals()
    yield


def arrive(job: AnyJob) -> None:
    """Tell who has asked for the upgrade that the job runs again, or waits for its peer, and the
    job's own user.
    """
    state = kept.former()
    if not state or (fd := state.take("client")) < 0:
        return
    runs = any(worker.started for worker in job.workers)
    gap_us = (job.started * 1e9 - state.began_ns) / 1e3 if runs else None
    done = Upgraded(
        command="upgrade",
        pid=os.getpid(),
        before=state.version,
        after=__version__,
        kind="cold",
        gap_us=gap_us,
        began=time.time() - (time.monotonic_ns() - state.began_ns) / 1e9 if runs else None,
        expected_us=state.expected_us,
        dropped=state.dropped,
        missing=job.crew.enforced.missing if job.crew.enforced else [],
    )
    how = "it waits for its peer" if gap_us is None else f"gap {gap_us / 1e3:,.0f} ms"
    job.on_notice(f"upgraded, cold: uspnet {state.version} → {__version__}, {how}")
    _answer(fd, {"answer": done.as_json()})
    state.close()


def fail(error: UspnetError) -> bool:
    """Tell who has asked that this version can't go on. Add what was done before to an error that
    has no result, and return whether that was so.
    """
    state = kept.former()
    if not state:
        return False
    if (fd := state.take("client")) >= 0:
        text = f"the job has stopped, and uspnet {__version__} can't go on: {error.message}"
        _answer(fd, {**error.as_dict(), "message": text})
    if error.partial or not state.before:
        return False
    *earlier, last = state.before
    error.partial = {name: each for name, each in last.items() if name != "uspnet"}
    error.partial["before"] = earlier
    return True


def _answer(fd: int, answer: Json) -> None:
    with socket.socket(fileno=fd) as client, contextlib.suppress(OSError):
        client.setblocking(False)
        client.send(json.dumps(answer).encode())
