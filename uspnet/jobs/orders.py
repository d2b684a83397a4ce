# SPDX-License-Identifier: Apache-2.0
"""Orders to jobs of other processes: the other end of `control`."""

from __future__ import annotations

import os
import sys

from uspnet.answer import Json
from uspnet.errors import Malformed, NoDevice, NoMemory, NotPermitted, Usage
from uspnet.jobs.change import Changed, TableName
from uspnet.jobs.cold import Planned
from uspnet.jobs.control import NAME_MAX, TABLE_BYTES
from uspnet.jobs.upgrade import Upgraded
from uspnet.jobs.upgrades import PATIENCE_S
from uspnet.system.sealed import sealed
from uspnet.telemetry.reaching import JOBS, ask, reach
from uspnet.text import printable

COLD_S = 6 * PATIENCE_S  # two starts of the other version, and the gap
WORDS = {"rules": "fwd --set-rules FILE", "routes": "fwd --set-routes FILE"}


def upgrade(job: int | str, path: str | None) -> Upgraded:
    """Have a job run the loops of another installation. `job`: its process id, or the path of its
    --control; `path`: see `interpreter`; None: of its own, as it is now. Raises what the job
    raises, and NoDevice, NotPermitted, NotSupported, Refused, DeviceTimeout, DeviceFault when it
    can't be asked.
    """
    return _done(*_ask(job, _request(path)))


def plan(job: int | str, path: str | None) -> Planned:
    """Return what it would do to upgrade a job cold, which runs on. Raises as `upgrade` does."""
    pid, said = _ask(job, {**_request(path), "kind": "plan"}, COLD_S)
    match said.get("answer"):
        case {
            "before": str(before),
            "after": str(after),
            "expected_us": int() | float() as expected_us,
        }:
            return Planned(printable(before), printable(after), expected_us)
    raise _no_answer(pid)


def upgrade_cold(job: int | str, path: str | None) -> Upgraded:
    """Have a job's process go on as another version. Raises as `upgrade` does."""
    return _done(*_ask(job, {**_request(path), "kind": "cold"}, COLD_S))


def set_table(job: int | str, table: TableName, name: str) -> Changed:
    """Have a job go by the rules or routes in a file. `job`, and what is raised: as for `upgrade`;
    and what is wrong in the file, with its line.
    """
    fd = _sealed_copy(name)
    try:
        request = {"do": "set", "table": table, "name": printable(name, NAME_MAX)}
        pid, said = _ask(job, request, fd=fd)
    finally:
        os.close(fd)
    match said.get("answer"):
        case {
            "entries": int(entries),
            "before": int(before),
            "gap_us": int() | float() | None as gap_us,
            "dropped": int(dropped),
            "notices": [*notices],
        }:
            return Changed(
                command="fwd", pid=pid, table=table, entries=entries, before=before, gap_us=gap_us,
                dropped=dropped, notices=[printable(str(each)) for each in notices],
            )  # fmt: skip
    raise _no_answer(pid)


def _sealed_copy(name: str) -> int:
    """Return a memfd with what is in a file, `-` for stdin. Raises NoDevice, NotPermitted, Usage,
    NoMemory.
    """
    try:
        with sys.stdin.buffer if name == "-" else open(name, "rb") as file:
            text = file.read(TABLE_BYTES + 1)
    except PermissionError as error:
        raise NotPermitted(f"{printable(name)}: {error.strerror}", "see: ls -l") from None
    except OSError as error:
        raise NoDevice(f"{printable(name)}: {error.strerror}", "give a file") from None
    if len(text) > TABLE_BYTES:
        raise Usage(f"{printable(name)} has more than {TABLE_BYTES >> 20} MiB", "give fewer lines")
    try:
        return sealed("uspnet-table", text)
    except OSError as error:
        raise NoMemory(f"{printable(name)}: {error.strerror}", "see: ulimit -n, -f") from None


def _request(path: str | None) -> Json:
    try:
        return {"do": "upgrade", "with": None if path is None else os.path.abspath(path)}
    except FileNotFoundError:
        text = f"{path} is relative to the current folder, which was removed"
        raise NoDevice(text, "name it from / on, or change to another folder") from None


def _no_answer(pid: int) -> Malformed:
    return Malformed(f"job {pid} gave an answer that is none", JOBS)


def _done(pid: int, said: Json) -> Upgraded:
    match said.get("answer"):
        case {
            "before": str(before),
            "after": str(after),
            "kind": "warm" | "cold" as kind,
            "gap_us": int() | float() | None as gap_us,
            "dropped": int(dropped),
            "missing": [*missing],
        }:
            began, expected = (said["answer"].get(name) for name in ("began", "expected_us"))
            return Upgraded(
                command="upgrade", pid=pid, before=printable(before), after=printable(after),
                kind=kind, gap_us=gap_us, dropped=dropped,
                began=began if isinstance(began, int | float) else None,
                expected_us=expected if isinstance(expected, int | float) else None,
                missing=[printable(str(each)) for each in missing],
            )  # fmt: skip
    raise _no_answer(pid)


def _ask(
    job: int | str, request: Json, patience_s: float = PATIENCE_S, fd: int = -1
) -> tuple[int, Json]:
    """Return the process id of a job, and what it answers."""
    words = WORDS.get(str(request.get("table")), "upgrade")
    connection, pid = reach(str(job), patience_s, words)
    with connection:
        said, fds = ask(connection, pid, request, fd)
    for each in fds:
        os.close(each)
    return pid, said
