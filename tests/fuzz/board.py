# SPDX-License-Identifier: Apache-2.0
"""Fuzz target: the counter board of another process.

The input is the board's prefix and header. Its memory is as long as it says, if that can be:
else nothing behind the first checks would ever be reached. After a change to the board's layout,
`python -m tests.fuzz.board` writes the corpus again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path

from uspnet.memory import SEALS
from uspnet.telemetry import reader, schema

F_ADD_SEALS = 1033
CORPUS = Path(__file__).parent / "corpus/board"
SANDBOX = {
    "user": 64000,
    "capabilities": 0,
    "no_new_privs": True,
    "landlock": 7,
    "seccomp": 13,
    "missing": ["x"],
}
RX, TX = ({"port": 0, "direction": direction, "queue": 0} for direction in ("rx", "tx"))


def board(command: str, port: str, unknown: list[str], rows: list[dict[str, int | str]]) -> bytes:
    """The prefix and the header of a job's board, as telemetry/board.py writes them."""
    ports = [{"port": port, "driver": port.partition(":")[0], "unknown": unknown}]
    header = {"command": command, "pid": 7, "started_ns": 5, "ports": ports, "queues": rows}
    header["sandbox"] = SANDBOX if rows == [RX] else None
    text = json.dumps(header).encode()
    prefix = schema.MAGIC, reader.COUNTER_BYTES, max(len(rows), 1), len(text)
    return schema.PREFIX.pack(*prefix) + text


def seeds() -> dict[str, bytes]:
    """The corpus: two jobs, one in a sandbox, one that has not been published, one that has a queue
    twice.
    """
    memif = ("fwd", "memif:/run/m.sock", ["rx_missed_errors"])
    return {
        "fwd": board(*memif, [RX, TX]),
        "sandbox": board(*memif, [RX]),
        "new": bytes(schema.PREFIX.size),
        "pcap": board("capture", "pcap:x", list(reader.COUNTERS), []),
        "twice": board(*memif, [RX, RX]),
    }


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


def read(data: bytes) -> reader.RunningJob | None:
    """Read a board as `stats` does. None: not yet published. Raise ValueError for a refusal."""
    fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        os.ftruncate(fd, length(data))
        fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
        return reader._read(fd)
    finally:
        os.close(fd)


def one(data: bytes) -> None:
    """Read a board: a job whose every part is within bounds, or a refusal."""
    with contextlib.suppress(ValueError):
        if job := read(data):
            check(job)


def check(job: reader.RunningJob) -> None:
    """What `stats` relies on."""
    assert schema.WORD.fullmatch(job.command)
    assert 0 < job.pid <= schema.PID_MAX
    assert len(job.ports) <= schema.PORTS_MAX
    for port in job.ports:
        assert 0 < len(port.port) <= schema.NAME_MAX
        assert schema.WORD.fullmatch(port.driver)
        assert port.sleeps >= 0


if __name__ == "__main__":
    for name, data in seeds().items():
        (CORPUS / name).write_bytes(data)
