# SPDX-License-Identifier: Apache-2.0
"""The board: what a job counts is what others read."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from uspnet.errors import Loss, Refused, Usage, UspnetError
from uspnet.telemetry import COUNTERS, Board, port_counters, running_jobs


@pytest.fixture
def board():
    made = Board("test", 2)
    yield made
    made.close()


def count(board, direction, queue):
    return board.counters(
        number=0, port="null:", driver="null", direction=direction, queue=queue, unknown=[]
    )


def mine():
    return [job for job in running_jobs() if job.pid == os.getpid()]


def test_an_unpublished_board_is_not_seen(board):
    assert mine() == []


def test_a_reader_sees_what_was_counted(board):
    rx = count(board, "rx", 0)
    tx = count(board, "tx", 0)
    rx.packets, rx.bytes, rx.missed, tx.dropped = 7, 420, 1, 3
    rx.sleeps, tx.sleeps = 5, 1
    board.publish(time.time_ns())
    (job,) = mine()
    (port,) = job.ports
    assert job.command == "test"
    assert (port["rx_packets"], port["rx_bytes"], port["tx_dropped"]) == (7, 420, 3)
    assert port["sleeps"] == 6
    rx.packets = 8
    assert mine()[0].ports[0]["rx_packets"] == 8


def test_a_child_that_inherited_the_board_is_no_second_job(board):
    board.publish(time.time_ns())
    os.set_inheritable(board.memory.fd, True)
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False) as child:
        assert [job.pid for job in running_jobs()].count(child.pid) == 0
        child.communicate(b"\n")


def test_counters_add_up_and_what_is_unknown_is_none(board):
    queues = [("rx", count(board, "rx", i)) for i in range(2)]
    for number, (_, counters) in enumerate(queues, 1):
        counters.packets = number
    total = port_counters(queues, frozenset({"rx_missed_errors"}))
    assert total["rx_packets"] == 3
    assert total["rx_missed_errors"] is None
    assert set(total) == set(COUNTERS)


@pytest.mark.parametrize(("kind", "code"), [(UspnetError, 1), (Usage, 2), (Refused, 3), (Loss, 4)])
def test_errors_carry_their_exit_code_and_hint(kind, code):
    error = kind("what", "then")
    assert error.exit_code == code
    assert error.as_dict() == {"error": kind.__name__, "message": "what", "hint": "then"}
