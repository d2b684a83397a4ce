# SPDX-License-Identifier: Apache-2.0
"""Jobs of other processes that take orders: the other end of `jobs/control.py`."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from pathlib import Path

from uspnet import errors
from uspnet.answer import Json
from uspnet.errors import (
    DeviceFault,
    DeviceTimeout,
    NoDevice,
    NotPermitted,
    NotSupported,
    Refused,
    UspnetError,
)
from uspnet.system.processes import peer, user_of
from uspnet.telemetry.reader import look
from uspnet.text import printable

ANSWER_BYTES = 1 << 18
NAP_S = 0.005
PID_DIGITS = 10  # a longer number is no process id; very long ones are more than int() reads
JOBS = "see: uspnet stats --once"
NOT_THERE = {errno.ECONNREFUSED, errno.EPROTOTYPE, errno.ENOTDIR}


def address(pid: int) -> str:
    """Return the address on which the job with this process id listens."""
    return f"\0uspnet-{pid}"


def reach(job: str, patience_s: float, command: str) -> tuple[socket.socket, int]:
    """Return a connection to a job, and its process id. `job`: that, or the path of its --control.
    Raises as `connect` and `connect_at`.
    """
    if is_process_id(job):
        return connect(int(job), patience_s, command), int(job)
    return connect_at(job, patience_s)


def is_process_id(job: str) -> bool:
    """Return whether a job is named by its process id, not by the path of its --control."""
    return job.isascii() and job.isdecimal() and len(job) <= PID_DIGITS


def connect(pid: int, patience_s: float, command: str) -> socket.socket:
    """Return a connection to a job. `command`: the one of uspnet's for which it is. Raises
    NoDevice, NotPermitted, NotSupported, Refused, DeviceFault.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(patience_s)
        try:
            _connect(connection, address(pid))
        except ConnectionRefusedError:
            raise _nobody(pid, command) from None
        except OSError as error:
            raise DeviceFault(f"job {pid}: {error.strerror or error}", JOBS) from None
        _check(pid, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_at(path: str, patience_s: float) -> tuple[socket.socket, int]:
    """Return a connection to the job that listens at a path, and its process id. Raises NoDevice,
    NotPermitted, Refused, DeviceFault.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(patience_s)
        try:
            _connect(connection, path)
            pid, user = peer(connection)
        except FileNotFoundError:
            raise NoDevice(f"there is no job at {printable(path)}", JOBS) from None
        except PermissionError:
            text = f"{printable(path)}: permission denied"
            raise NotPermitted(text, "run as root, or as the job's user") from None
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise DeviceFault(f"{printable(path)}: {error.strerror or error}", JOBS) from None
            raise NoDevice(f"no job listens at {printable(path)}", JOBS) from None
        if user != os.geteuid():  # root, too: anybody may listen where others expect a job
            text = f"process {pid} of user {user} listens at {printable(path)}"
            raise Refused(text, f"see: ps -fp {pid}; if that is the job, name it: {pid}")
    except BaseException:
        connection.close()
        raise
    return connection, pid


def _connect(connection: socket.socket, to: str) -> None:
    """Connect within the socket's timeout, also while others wait there. Raises OSError."""
    end = time.monotonic() + (connection.gettimeout() or 0)
    while True:
        try:
            return connection.connect(to)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(NAP_S)


def ask(connection: socket.socket, pid: int, request: Json, fd: int = -1) -> tuple[Json, list[int]]:
    """Return what the job answers, and the descriptors that came with that. `fd`: a descriptor for
    the job, or -1. Raises what the job raises, and DeviceTimeout, DeviceFault.
    """
    fds: list[int] = []
    try:
        data = json.dumps(request).encode()
        socket.send_fds(connection, [data], [fd] if fd >= 0 else [])
        data, fds, _, _ = socket.recv_fds(connection, ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        said = json.loads(data or b"null")
    except TimeoutError:
        text = f"job {pid} has not answered for {connection.gettimeout() or 0:.0f} s"
        raise DeviceTimeout(text, JOBS) from None
    except (OSError, ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and "error" not in said:
        return said, fds
    for each in fds:
        os.close(each)
    if not isinstance(said, dict):
        raise DeviceFault(f"job {pid} has ended meanwhile", JOBS)
    raise _raised(said)


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


def _nobody(pid: int, command: str) -> UspnetError:
    """Return why nobody listens as the job of this process."""
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
        return NotSupported(text, f"run: nsenter -t {pid} -n uspnet {command} {pid}")
    if not look(pid).jobs:
        return NoDevice(f"process {pid} is no job", JOBS)
    text = f"job {pid} takes no orders: it is no command, or of an older version"
    return NotSupported(text, "stop it, and start it anew")


def _elsewhere(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except OSError:
        return False
