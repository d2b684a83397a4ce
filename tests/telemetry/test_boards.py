# SPDX-License-Identifier: Apache-2.0
"""The board: what a job counts is what others read."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from tests.support.private_tmpfs import PRIVATE_TMPFS
from uspnet.errors import Loss, NotSupported, Refused, Usage, UspnetError
from uspnet.memory import SEALS
from uspnet.sandbox.enforced import Enforced
from uspnet.telemetry import COUNTERS, UNKNOWN, Board, look, port_counters, reader, schema
from uspnet.telemetry.board import BOARD, COUNTER_BYTES, COUNTERS_AT


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
    return look(os.getpid()).jobs


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
    assert (port.rx_packets, port.rx_bytes, port.tx_dropped) == (7, 420, 3)
    assert port.sleeps == 6
    rx.packets = 8
    assert mine()[0].ports[0].rx_packets == 8


def test_a_reader_sees_the_sandbox_of_the_loops_that_run_now(board, monkeypatch):
    few, all_of_it = (
        Enforced(
            user=user, capabilities=0, no_new_privs=True, landlock=4, seccomp=9, missing=missing
        )
        for user, missing in ((None, ["a user of its own"]), (61184, []))
    )
    board.tell(0, 0, few)
    assert mine() == [], "not yet published"
    board.publish(time.time_ns(), few)
    board.tell(1, 2, all_of_it)
    (job,) = mine()
    assert (job.sandbox, job.upgrades, job.restarts) == (all_of_it, 1, 2)
    board.tell(2, 2, None)
    assert mine()[0].sandbox is None
    board.tell(3, 2, few)
    board._count()
    assert look(os.getpid()).unreadable == 1, "it is being written all the time"
    monkeypatch.setattr(reader.time, "sleep", lambda _seconds: board._count())
    assert mine()[0].sandbox == few


def test_a_child_that_inherited_the_board_is_no_second_job(board):
    board.publish(time.time_ns())
    os.set_inheritable(board.memory.fd, True)
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False) as child:
        assert look(child.pid).jobs == []
        child.communicate(b"\n")


def test_a_count_that_is_lost_while_the_job_runs_is_none_for_readers_too(board):
    about = {"number": 0, "port": "p", "driver": "d", "direction": "rx", "unknown": []}
    known, lost = (board.counters(queue=queue, **about) for queue in (0, 1))
    known.missed, lost.missed, lost.packets = 3, UNKNOWN, 5
    board.publish(time.time_ns())
    (job,) = look(os.getpid()).jobs
    assert (job.ports[0].rx_missed_errors, job.ports[0].rx_packets) == (None, 5)


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


ROW = {"port": 0, "direction": "rx", "queue": 0}
PORT = {"port": "null:", "driver": "null", "unknown": []}


def header(**changed):
    """A good header of this process, but for what is changed."""
    good = {"command": "test", "pid": os.getpid(), "started_ns": 1, "ports": [PORT]}
    return {**good, "queues": [ROW], **changed}


def with_port(**changed):
    return header(ports=[{**PORT, **changed}])


def with_queue(**changed):
    return header(queues=[{**ROW, **changed}])


def forged(text, *, seals=SEALS, size=COUNTERS_AT + COUNTER_BYTES, queues=1, longer=0):
    """A memfd that is named as boards are, with this header."""
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    fd = os.memfd_create(BOARD, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if size > COUNTERS_AT:
        prefix = schema.PREFIX.pack(schema.MAGIC, COUNTER_BYTES, queues, len(data) + longer)
        os.pwrite(fd, prefix + data, 0)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


@pytest.fixture
def make():
    """Makes forged boards; all are gone after the test."""
    made = []

    def one(*arguments, **more):
        made.append(forged(*arguments, **more))

    yield one
    for fd in made:
        os.close(fd)


def test_what_is_forged_here_is_a_board_when_nothing_is_wrong_with_it(make):
    make(header())
    assert mine()[0].command == "test"
    assert mine()[0].uid == os.geteuid()


BAD = {
    "deep": b"[" * 60000,
    "no json": b"{",
    "no object": [],
    "big number": b'{"pid": ' + b"9" * 60000 + b"}",
    "name twice": json.dumps(header()).encode()[:-1] + b', "pid": 1}',
    "nan": json.dumps(header(started_ns=float("nan"))).encode(),
    "fraction": header(started_ns=1.5),
    "start is text": header(started_ns="abc"),
    "start is true": header(started_ns=True),
    "before time": header(started_ns=-1),
    "after time": header(started_ns=1 << 63 | 1),
    "command is a list": header(command=["a"]),
    "command is null": header(command=None),
    "command with escapes": header(command="\x1b[31mred"),
    "command is long": header(command="x" * 60),
    "more than it may hold": header(more=1),
    "less": {"command": "x"},
    "ports are text": header(ports="ab"),
    "too many ports": header(ports=[PORT] * (schema.PORTS_MAX + 1)),
    "port is a number": with_port(port=1),
    "port is empty": with_port(port=""),
    "port is long": with_port(port="x" * (schema.NAME_MAX + 1)),
    "driver with a new line": with_port(driver="null\n"),
    "unknown is no counter": with_port(unknown=["port"]),
    "unknown is text": with_port(unknown="abc"),
    "unknown is a list of lists": with_port(unknown=[[]]),
    "queue of no port": with_queue(port=1),
    "queue of a port before the first": with_queue(port=-1),
    "queue of a list": with_queue(port=[1]),
    "neither rx nor tx": with_queue(direction="up"),
    "a list for rx or tx": with_queue(direction=[]),
    "an object for rx or tx": with_queue(direction={}),
    "queue twice": header(queues=[ROW, ROW]),
    "more queues than counters": header(queues=[{**ROW, "queue": n} for n in range(2)]),
    "a bad encoding": b"\xff\xfe" * 10,
}


@pytest.mark.parametrize("what", BAD)
def test_a_board_that_breaks_the_rules_is_counted_and_nothing_else(make, what):
    make(BAD[what])
    assert mine() == []
    assert look(os.getpid()).unreadable == 1


SHAPES = {
    "not sealed": {"seals": fcntl.F_SEAL_SEAL},
    "sealed against growth alone": {"seals": fcntl.F_SEAL_GROW},
    "empty": {"size": 0},
    "short": {"size": 10},
    "longer than it says": {"size": COUNTERS_AT + 2 * COUNTER_BYTES},
    "huge": {"size": 1 << 62},
    "shorter than it says": {"queues": 3},
    "no queues": {"queues": 0},
    "very many queues": {"queues": (1 << 32) - 1},
    "a header longer than there is": {"longer": 1 << 31},
}


@pytest.mark.parametrize("what", SHAPES)
def test_a_board_of_the_wrong_shape_is_counted_and_nothing_else(make, what):
    make(header(), **SHAPES[what])
    assert mine() == []
    assert look(os.getpid()).unreadable == 1


def test_the_boards_of_one_user_are_read_up_to_a_limit(make, monkeypatch):
    monkeypatch.setattr(reader, "USER_BOARDS_MAX", 0)
    make(header())
    assert mine() == []
    assert look(os.getpid()).unreadable == 1


def test_a_process_has_one_board(make):
    for _ in range(3):
        make(header())
    assert len(mine()) == 1


def test_of_many_descriptors_only_the_first_are_looked_at(make, monkeypatch):
    monkeypatch.setattr(reader, "DESCRIPTORS_MAX", 0)
    make(header())
    assert mine() == []


def test_of_many_that_are_named_as_boards_only_the_first_are_looked_at(make, monkeypatch):
    monkeypatch.setattr(reader, "NAMED_MAX", 2)
    for seals in (fcntl.F_SEAL_SEAL, fcntl.F_SEAL_SEAL, SEALS):
        make(header(), seals=seals)
    assert mine() == []
    assert look(os.getpid()).unreadable == 2


FIFO = (
    PRIVATE_TMPFS
    + """
name = "memfd:uspnet-board"
if sys.argv[1] == "fifo":
    os.mkfifo(name, dir_fd=mount)
fd = os.open(name, os.O_RDWR | os.O_CREAT, dir_fd=mount)
os.unlink(name, dir_fd=mount)
print(os.readlink(f"/proc/self/fd/{fd}"), flush=True)
input()
"""
)


@pytest.mark.parametrize("kind", ["fifo", "file"])
def test_nothing_but_memory_is_opened_whatever_its_name(kind):
    command = [sys.executable, "-c", FIFO, kind]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as child:
        try:
            if not (said := child.stdout.readline()):
                pytest.skip("needs user namespaces: with mounts")
            assert said == f"{reader.TARGET}\n"
            assert look(child.pid).unreadable == 1, "and it did not wait"
        finally:
            child.kill()
            child.communicate()


def test_a_board_belongs_to_the_user_who_made_it(make):
    if os.geteuid() != 0:
        pytest.skip("needs root: to be other users")
    os.seteuid(65534)
    try:
        fd = forged(header())
    finally:
        os.seteuid(0)
    try:
        assert mine() == [], "a descriptor that was sent to us makes no job of ours"
        make(header())
        assert [job.uid for job in mine()] == [0]
    finally:
        os.close(fd)


def test_long_names_and_many_ports_fit_and_more_is_refused():
    board = Board("test", 2 * schema.PORTS_MAX)
    try:
        for number in range(schema.PORTS_MAX):
            name = f"pcap:/{number:04}{'x' * 4090}"
            board.counters(
                number=number, port=name, driver="pcap", direction="rx", queue=0, unknown=[]
            )
        board.publish(time.time_ns())
        (job,) = mine()
        assert len(job.ports) == schema.PORTS_MAX
        assert all(len(port.port) == 4100 for port in job.ports)
    finally:
        board.close()
    with pytest.raises(NotSupported):
        Board("test", schema.QUEUES_MAX + 1)


def test_descriptors_count_for_the_user_who_started_a_process(monkeypatch):
    process = reader._Process(os.getpid())
    try:
        monkeypatch.setattr(process, "status", lambda name: {"Uid": [1000, 0, 0, 0]}[name])
        assert process.uid() == 1000, "a program that is setuid is its caller's"
    finally:
        process.close()
