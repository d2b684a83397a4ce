# SPDX-License-Identifier: Apache-2.0
"""Fuzz target: the counter board of another process.

The input is the board's prefix and header. Its memory is as long as it says, if that can be:
else nothing behind the first checks would ever be reached.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from uspnet.pool import SEALS
from uspnet.telemetry import reader, schema

F_ADD_SEALS = 1033


def length(data: bytes) -> int:
    """The length of the memory that a board with this prefix has."""
    if len(data) < schema.PREFIX.size:
        return len(data)
    queues = schema.PREFIX.unpack_from(data)[2]
    return (
        schema.PREFIX.size
        + schema.TEXT_MAX
        + min(queues, 2 * schema.QUEUES_MAX) * reader.COUNTER_BYTES
    )


def one(data: bytes) -> None:
    """Read a board: a job whose every part is within bounds, or a refusal."""
    fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        os.ftruncate(fd, length(data))
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
        with contextlib.suppress(ValueError):
            job = reader._read(fd)
            if job:
                check(job)
    finally:
        os.close(fd)


def check(job: reader.RunningJob) -> None:
    """What `stats` relies on."""
    assert schema.WORD.fullmatch(job.command)
    assert 0 < job.pid <= schema.PID_MAX
    assert len(job.ports) <= schema.PORTS_MAX
    for port in job.ports:
        assert 0 < len(port.port) <= schema.NAME_MAX
        assert schema.WORD.fullmatch(port.driver)
        assert port.sleeps >= 0
