# SPDX-License-Identifier: Apache-2.0
"""Orders to jobs of other processes: the other end of `control`."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from uspnet import errors
from uspnet.answer import Json
from uspnet.errors import (
    DeviceFault,
    DeviceTimeout,
    Malformed,
    NoDevice,
    NoMemory,
    NotPermitted,
    NotSupported,
    Refused,
    Usage,
    UspnetError,
)
from uspnet.jobs.change import Changed, TableName
from uspnet.jobs.cold import Planned
from uspnet.jobs.control import NAME_MAX, TABLE_BYTES, address
from uspnet.jobs.upgrade import Upgraded
from uspnet.jobs.upgrades import PATIENCE_S
from uspnet.system.processes import peer, user_of
from uspnet.system.sealed import sealed
from uspnet.telemetry import look
from uspnet.text import printable

ANSWER_BYTES = 1 << 18
COLD_S = 6 * PATIENCE_S  # two starts of the other version, and the gap
JOBS = "see: uspnet stats --once"
WORDS = {"rules": "fwd --set-rules FILE", "routes": "fwd --set-routes FILE"}


def upgrade(pid: int, path: str | None) -> Upgraded:
    """Have the job with this process id run the loops of another installation: see `interpreter`
    for the path; None: of its own, as it is now. Raises what the job raises, and NoDevice,
    NotPermitted, NotSupported, Refused, DeviceTimeout, DeviceFault when it can't be asked.
    """
    return _done(pid, _ask(pid, _request(path)))


def plan(pid: int, path: str | None) -> Planned:
    """Return what it would do to upgrade a job cold, which runs on. Raises as `upgrade` does."""
    said = _ask(pid, {**_request(path), "kind": "plan"}, COLD_S)
    match said.get("answer"):
        case {
            "before": str(before),
            "after": str(after),
            "expected_us": int() | float() as expected_us,
        }:
            return Planned(printable(before), printable(after), expected_us)
    raise _no_answer(pid)


def upgrade_cold(pid: int, path: str | None) -> Upgraded:
    """Have a job's process go on as another version. Raises as `upgrade` does."""
    return _done(pid, _ask(pid, {**_request(path), "kind": "cold"}, COLD_S))


def set_table(pid: int, table: TableName, name: str) -> Changed:
    """Have a job go by the rules or routes in a file. Raises as `upgrade` does, and what is wrong
    in the file, with its line.
    """
    fd = _sealed_copy(name)
    try:
        request = {"do": "set", "table": table, "name": printable(name, NAME_MAX)}
        said = _ask(pid, request, fd=fd)
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


def _ask(pid: int, request: Json, patience_s: float = PATIENCE_S, fd: int = -1) -> Json:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(patience_s)
        try:
            connection.connect(address(pid))
        except ConnectionRefusedError:
            raise _nobody(pid, request) from None
        except OSError as error:
            raise DeviceFault(f"job {pid}: {error.strerror or error}", JOBS) from None
        _check(pid, connection)
        try:
            data = json.dumps(request).encode()
            socket.send_fds(connection, [data], [fd] if fd >= 0 else [])
            said = json.loads(connection.recv(ANSWER_BYTES) or b"null")
        except TimeoutError:
            text = f"job {pid} has not answered for {patience_s:.0f} s"
            raise DeviceTimeout(text, JOBS) from None
        except (OSError, ValueError, RecursionError):
            said = None
    if not isinstance(said, dict):
        raise DeviceFault(f"job {pid} has ended meanwhile", JOBS)
    if "error" in said:
        raise _raised(said)
    return said


def _check(pid: int, connection: socket.socket) -> None:
    """Raise Refused when it is not the job that listens: anybody may take a name."""
    listener, user = peer(connection)
    if listener != pid or user != user_of(pid):  # the number may have been another process's
        text = f"process {listener} of user {user} pretends to be job {pid}"
        raise Refused(text, f"see: ps -fp {listener}")
    if user != os.geteuid() and os.geteuid() != 0:
        raise NotPermitted(f"job {pid} is another user's", "run as root, or as that user")


def _raised(said: Json) -> UspnetError:
    kind = getattr(errors, str(said["error"]), UspnetError)
    known = isinstance(kind, type) and issubclass(kind, UspnetError)
    message, *details = str(said.get("message")).split("\n")
    return (kind if known else UspnetError)(message, str(said.get("hint", "")), details)


def _nobody(pid: int, request: Json) -> UspnetError:
    """Return why nobody listens as the job of this process. `request`: for it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return NoDevice(f"there is no process {pid}", JOBS)
    if "\nState:\tZ" in status:
        return NoDevice(f"process {pid} has ended", JOBS)
    user = int(status.partition("\nUid:")[2].split()[1])
    if user != os.geteuid() and os.geteuid() != 0:
        return NotPermitted(f"process {pid} is another user's", "run as root, or as that user")
    if _elsewhere(pid):
        text = f"process {pid} is in another network namespace; if it is a job, go there"
        words = WORDS.get(str(request.get("table")), "upgrade")
        return NotSupported(text, f"run: nsenter -t {pid} -n uspnet {words} {pid}")
    if not look(pid).jobs:
        return NoDevice(f"process {pid} is no job", JOBS)
    text = f"job {pid} takes no orders: it is no command, or of an older version"
    return NotSupported(text, "stop it, and start it anew")


def _elsewhere(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except OSError:
        return False
