# SPDX-License-Identifier: Apache-2.0
"""Descriptors that are more than they seem: files whose last close takes as long as their maker
likes, and eventfds that never fall silent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from tests.support.memif import raw_memif as raw
from tests.support.waiting import until
from uspnet.ports.memif import closing

TICKS = os.sysconf("SC_CLK_TCK")


def lingering():
    """A TCP socket that wants to send before it is closed, to somebody who never reads; and that
    one, to be kept.
    """
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        sock = socket.create_connection(door.getsockname())
        deaf = door.accept()[0]
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    sock.setblocking(False)
    try:
        while True:
            sock.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    sock.setblocking(True)
    return sock, deaf


@contextlib.contextmanager
def stopped(pid):
    """A process reads nothing. What is closed meanwhile, and is in a message to it, is closed for
    good by that process alone.
    """
    os.kill(pid, signal.SIGSTOP)
    until(lambda: "\nState:\tT" in Path(f"/proc/{pid}/status").read_text())
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def send_to_server(sock, when, fd):
    """What it sends with INIT, as a region, or as a bell."""
    init, *rest = raw.Memory(4).conversation()
    match when:
        case "unheard":
            raw.say(sock, bytes(128))
            raw.say(sock, init[0], [fd])
        case "init":
            raw.say(sock, init[0], [fd])
        case "many":
            raw.say(sock, init[0], [fd] * 200)
        case "region":
            raw.say(sock, *init)
            raw.say(sock, rest[0][0], [fd])
        case "bell":
            raw.say(sock, *init)
            raw.say(sock, *rest[0])
            raw.say(sock, rest[1][0], [fd])


@pytest.mark.parametrize("when", ["unheard", "init", "many", "region", "bell"])
def test_a_file_that_is_slow_to_close_holds_nobody(uspnet, tmp_path, when):
    path = tmp_path / "m.sock"
    job = uspnet("capture", f"memif:{path},role=server")
    until(path.exists)
    slow, deaf = lingering()
    with deaf, raw.connect(str(path)) as sock:
        if when != "unheard":
            raw.hear(sock)
        with stopped(job.pid):
            send_to_server(sock, when, slow.fileno())
            slow.close()
        good = uspnet("pktgen", f"memif:{path},wait=20", "--count", 1000)
        assert good.result()["sent"] == 1000
        assert job.interrupt()["received"] == 1000


def test_a_servers_file_that_is_slow_to_close_holds_no_client(uspnet, tmp_path):
    path = str(tmp_path / "m.sock")
    slow, deaf = lingering()
    hello = raw.message(raw.HELLO, b"hostile", 0x200, 0x200, 1, 0, 0, 10)
    with deaf, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        job = uspnet("pktgen", f"memif:{path},wait=20")
        with listener.accept()[0] as sock:
            with stopped(job.pid):
                raw.say(sock, hello, [slow.fileno()])
                slow.close()
            assert raw.reason(sock) == "Unexpected file descriptor"
        assert job.result()["error"] == "PeerFault"


def test_many_slow_files_cost_few_threads():
    held = [lingering() for _ in range(closing.THREADS_MAX + 8)]
    ends = [os.pipe() for _ in range(8)]
    try:
        for sock, _ in held:
            closing.let_go(sock.detach())
        for _, end in ends:
            closing.let_go(end)
        closing.let_go()
        until(lambda: len(closing._threads) == closing.THREADS_MAX)
        closing.wait(0.1)
        assert len(closing._threads) == closing.THREADS_MAX
    finally:
        for _, deaf in held:  # a reset ends the wait
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            deaf.close()
    for end, _ in ends:
        assert os.read(end, 1) == b"", "closed after all"
        os.close(end)


def processor_s(pid):
    """Seconds of processor time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def semaphores(memory):
    """Bells of which a read takes one of very many rings."""
    for bell in memory.bells:
        os.close(bell)
    memory.bells = [os.eventfd(1 << 30, os.EFD_SEMAPHORE | os.EFD_NONBLOCK) for _ in range(2)]


@pytest.mark.parametrize("how", ["bells", "chain"])
def test_calls_without_work_keep_no_worker_awake(uspnet, tmp_path, how):
    path = tmp_path / "m.sock"
    job = uspnet("capture", f"memif:{path},role=server")
    until(path.exists)
    memory = raw.Memory(4)
    if how == "bells":
        semaphores(memory)
    with raw.shake_hands(str(path), memory) as sock:
        if how == "chain":  # of which the end never comes
            memory.describe(0, 0, flags=raw.NEXT)
            memory.head(0, 1)
        time.sleep(0.5)
        before, start = processor_s(job.pid), time.monotonic()
        time.sleep(1.5)
        assert processor_s(job.pid) - before < 0.2 * (time.monotonic() - start)
        memory.describe(0, 0)
        memory.head(0, 10)
        until(lambda: memory.tail(0) == 10)
        sock.shutdown(1)
    memory.close()
    assert job.interrupt()["received"] == 10
