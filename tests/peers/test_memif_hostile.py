# SPDX-License-Identifier: Apache-2.0
"""Peers that lie, shrink their memory or never stop talking. The process must not mind."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path

import pytest

from tests.support.identity import check
from tests.support.memif import raw_memif as raw
from tests.support.tiers import by_tier
from tests.support.waiting import until

DESCRIPTORS = by_tier(250_000, 500_000, 10_000_000)
MESSAGES = by_tier(5_000, 15_000, 50_000)
PATIENCE_S = 1800
FDS_MORE, KIB_MORE = 8, 32 << 10


@pytest.fixture
def server(uspnet, tmp_path):
    """A uspnet that counts what clients send, with a secret and two queue pairs."""
    path = tmp_path / "m.sock"
    job = uspnet("capture", f"memif:{path},role=server,id=7,secret=tell,queues=2")
    until(path.exists)
    yield str(path)
    assert job.interrupt()["exit"] == 0


@pytest.mark.full
def test_descriptors_by_the_hundred_thousand(sanitized):
    said = sanitized("hostile_rings.py", 1, DESCRIPTORS, 0.5, limit_s=PATIENCE_S)
    report = json.loads(said)
    assert report["descriptors"] >= DESCRIPTORS
    assert report["changes"] >= DESCRIPTORS // 100


def attack(said):
    """What a program of tests/support/memif printed, with the job's result checked."""
    report = json.loads(said)
    check(report["result"])
    return report


@pytest.mark.full
def test_thousands_of_messages_to_a_server(sanitized):
    report = attack(sanitized("hostile_server.py", 1, MESSAGES, limit_s=PATIENCE_S))
    assert report["messages"] >= MESSAGES
    assert report["changes"] >= MESSAGES // 20
    assert report["fds"] <= FDS_MORE
    assert report["memory_kib"] < KIB_MORE
    assert {"sealed", "plain"} <= set(report["truncated"])
    assert report["received_after"] == 200  # a good client is as welcome as ever


@pytest.mark.full
@pytest.mark.parametrize("how", ["zero-copy=on", "zero-copy=off"])
def test_thousands_of_messages_to_a_client(sanitized, how):
    report = attack(sanitized("hostile_client.py", 1, MESSAGES, how, limit_s=PATIENCE_S))
    assert report["messages"] >= MESSAGES
    assert report["fds"] <= FDS_MORE
    assert report["memory_kib"] < KIB_MORE
    assert "shrunk" not in report  # our own memory is sealed
    assert report["received_after"] == 10


# -- refusals, each with its reason ---------------------------------------------------------------


def change(talk, at, kind=None, fields=(), fds=None):
    """The conversation with one message changed."""
    old, old_fds = talk[at]
    new = raw.message(kind, *fields) if kind else old
    return [*talk[:at], (new, old_fds if fds is None else fds), *talk[at + 1 :]]


def init(version=0x200, number=7, mode=0, secret=b"tell"):
    return {"at": 0, "kind": raw.INIT, "fields": (version, number, mode, secret, b"hostile")}


def region(index=0, size=65536, **more):
    return {"at": 1, "kind": raw.ADD_REGION, "fields": (index, size), **more}


def ring(flags=raw.C2S, index=0, where=0, offset=0, log2=4, private=0, **more):
    fields = (flags, index, where, offset, log2, private)
    return {"at": 2, "kind": raw.ADD_RING, "fields": fields, **more}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (init(version=0x100), "Incompatible memif version"),
        (init(number=8), "ID not found"),
        (init(mode=1), "Only ethernet mode supported"),
        (init(secret=b""), "Secret required"),
        (init(secret=b"tel"), "Incorrect secret"),
        (init(secret=b"tell" * 6), "Incorrect secret"),
        (region(index=1), "Invalid region index"),
        ({"at": 1, "fds": []}, "Missing region fd"),
        (region(size=0), "Invalid region"),
        (region(size=1 << 40), "Invalid region"),
        (region(size=1 << 63), "Invalid region"),
        ({"at": 2, "fds": []}, "Missing interrupt fd"),
        (ring(index=2), "Invalid ring index"),
        (ring(log2=0), "Invalid ring size"),
        (ring(log2=15), "Invalid ring size"),
        (ring(log2=255), "Invalid ring size"),
        (ring(private=1), "Invalid ring size"),
        (ring(where=1), "Invalid ring region or offset"),
        (ring(offset=8), "Invalid ring region or offset"),
        (ring(offset=0xFFFFFFF0), "Ring is outside its region"),
        (ring(offset=4096), "Wrong ring"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_client_that_is_wrong_is_told_why(server, wrong, text):
    memory = raw.Memory(4)
    with raw.connect(server) as sock:
        assert raw.hear(sock)[0] == raw.HELLO
        for data, fds in change(memory.conversation(7, b"tell"), **wrong):
            raw.say(sock, data, fds)
        assert raw.reason(sock) == text
    memory.close()


def test_an_id_has_one_client_and_a_ring_one_place(server):
    memory, talk = raw.Memory(4), None
    talk = memory.conversation(7, b"tell")
    with raw.connect(server) as first, raw.connect(server) as second:
        raw.hear(first)
        for data, fds in talk:
            raw.say(first, data, fds)
        while raw.hear(first)[0] != raw.CONNECTED:
            pass
        raw.say(second, *talk[0])
        raw.hear(second)
        assert raw.reason(second) == "Already connected"
        raw.say(first, *talk[2])
        assert raw.reason(first) == "Unexpected message"
    memory.close()


@pytest.mark.parametrize("kind", ["pipe", "null", "directory", "file", "socket"])
def test_only_shared_memory_is_a_region_and_only_an_eventfd_a_bell(server, tmp_path, kind):
    makers = {
        "pipe": lambda: os.pipe()[1],
        "null": lambda: os.open("/dev/null", os.O_RDWR),
        "directory": lambda: os.open(tmp_path, os.O_RDONLY),
        "file": lambda: os.open(Path(__file__), os.O_RDONLY),
        "socket": lambda: socket.socket().detach(),
    }
    memory, fd = raw.Memory(4), makers[kind]()
    for at, text in ((1, "Invalid region"), (2, "Invalid interrupt fd")):
        with raw.connect(server) as sock:
            raw.hear(sock)
            for data, fds in change(memory.conversation(7, b"tell"), at, fds=[fd]):
                raw.say(sock, data, fds)
            assert raw.reason(sock) == text
    os.close(fd)
    memory.close()


def test_a_bell_that_blocks_does_not_hold_the_worker(uspnet, tmp_path):
    path = tmp_path / "m.sock"
    job = uspnet("pktgen", f"memif:{path},role=server", "--no-sequence")
    until(path.exists)
    memory = raw.Memory(4)
    memory.map[4:6] = memory.map[memory.ring_bytes + 4 : memory.ring_bytes + 6] = b"\0\0"
    for bell in memory.bells:
        os.eventfd_write(bell, 2**64 - 2)  # full
    memory.head(1, 16)
    with raw.shake_hands(str(path), memory) as sock:
        with contextlib.suppress(OSError):
            for _ in range(100):  # the server made them non-blocking; we undo that
                [os.set_blocking(bell, True) for bell in memory.bells]
                memory.head(1, memory.tail(1) + 16)
                time.sleep(0.001)
        assert raw.reason(sock) == "the peer's eventfd blocks"
    memory.close()
    good = uspnet("capture", f"memif:{path}", "--count", 1000)
    assert good.result()["received"] == 1000
    assert job.interrupt()["exit"] == 0


def test_a_server_that_never_greets_is_left(uspnet, tmp_path):
    path = str(tmp_path / "m.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.bind(path)
        silent.listen()
        result = uspnet("pktgen", f"memif:{path},wait=0.5").result()
    assert result["exit"] == 1
    assert result["error"] == "DeviceTimeout"


def test_a_secret_is_not_told(uspnet, tmp_path):
    path = tmp_path / "m.sock"
    job = uspnet("capture", f"memif:{path},role=server,secret=sesame")
    until(path.exists)
    memory = raw.Memory(4)
    with raw.connect(str(path)) as sock:
        raw.hear(sock)
        for data, fds in memory.conversation(0, b"sesame"):
            raw.say(sock, data, fds)
        while raw.hear(sock)[0] != raw.CONNECTED:
            pass
        memory.head(0, 40_000)
        assert "sesame" not in raw.reason(sock)
    memory.close()
    assert "sesame" not in str(job.interrupt())
