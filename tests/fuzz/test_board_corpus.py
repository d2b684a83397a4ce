# SPDX-License-Identifier: Apache-2.0
"""The boards that the fuzzer begins with are of today's layout, and reach what they are for."""

from __future__ import annotations

import json

import pytest

from tests.fuzz.board import CORPUS, read, seeds
from uspnet.telemetry import Board, schema


def test_the_corpus_is_of_todays_layout():
    kept = {path.name: path.read_bytes() for path in CORPUS.iterdir()}
    made = seeds()
    stale = [name for name in made if kept.get(name) != made[name]]
    assert not stale, f"{stale}: python -m tests.fuzz.board writes them again"


def test_each_seed_reaches_its_part_of_the_reader():
    jobs = {name: read(data) for name, data in seeds().items() if name in {"fwd", "pcap"}}
    assert [(job.command, job.pid, len(job.ports)) for job in jobs.values()] == [
        ("fwd", 7, 1),
        ("capture", 7, 1),
    ]
    assert read(seeds()["new"]) is None
    with pytest.raises(ValueError, match="twice"):
        read(seeds()["twice"])


def test_a_seed_has_what_a_job_publishes():
    board = Board("fwd", 2)
    try:
        port = {"port": "memif:/run/m.sock", "driver": "memif", "unknown": ["rx_missed_errors"]}
        for direction in ("rx", "tx"):
            board.counters(number=0, direction=direction, queue=0, **port)
        board.publish(5)
        prefix = bytes(board.memory.map[: schema.PREFIX.size])
        size = schema.PREFIX.unpack(prefix)[3]
        text = json.loads(bytes(board.memory.map[schema.PREFIX.size : schema.PREFIX.size + size]))
    finally:
        board.close()
    data = seeds()["fwd"]
    assert text | {"pid": 7} == json.loads(data[schema.PREFIX.size :])
    assert schema.PREFIX.unpack(prefix)[:3] == schema.PREFIX.unpack_from(data)[:3]
