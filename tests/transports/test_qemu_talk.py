# SPDX-License-Identifier: Apache-2.0
"""The conversation with a qtest server that answers anything, or for ever."""

import contextlib
import os
import random
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from tests.support.speaker import speaker
from tests.support.tiers import by_tier
from tests.support.waiting import scaled
from tests.test_memory import replace
from uspnet.errors import DeviceFault
from uspnet.fastpath import ffi, lib
from uspnet.memory import SharedMemory
from uspnet.pool import Pool
from uspnet.transports.qemu import qtest
from uspnet.transports.qemu.qtest import Link, Qtest


class Peg:
    """A machine with nothing but a place for memory modules."""

    slot, wire_fd = 4, -1

    def __init__(self, sock):
        self.qtest = sock

    def plug(self, _fd, size):
        return size


def test_a_value_is_read(ends):
    with speaker(ends[1], b"IRQ raise 1\nOK 0x12\n"):
        assert Link(ends[0].fileno(), "qemu:x").ask("readl 0") == 0x12


@pytest.mark.parametrize(
    ("text", "endless"),
    [
        (b"x" * 1000, False),
        (b"IRQ raise 1\n", True),
        (b"\0" * 255 + b"\n", True),
        (b"\n", True),
        (b"FAIL Unknown command\n", False),
        (b"NO\n", False),
    ],
)
def test_what_is_no_answer_ends_the_link(ends, text, endless):
    link = Link(ends[0].fileno(), "qemu:x")
    with speaker(ends[1], text, endless=endless):
        for _ in range(2):
            with pytest.raises(DeviceFault, match="does not answer"):
                link.ask("readl 0")


def test_memory_that_qemu_gives_away_is_noticed(ends, monkeypatch):
    monkeypatch.setattr(qtest, "assign_bars", lambda *_: {})
    nic = Qtest("qemu:x", Peg(ends[0]))
    with Pool(8, 1514, 4096) as pool:
        nic.attach(pool)
        nic.check()
        for memory in pool.memories:
            replace(memory, memory.size)
            assert memory.map[memory.size - 1] == 0, "and survived"
            with pytest.raises(DeviceFault, match="took pages out of the job's memory"):
                nic.check()
            memory.lost[0] = 0


def test_a_qemu_that_leaves_ends_the_link(ends):
    link = Link(ends[0].fileno(), "qemu:x")
    ends[1].close()
    with pytest.raises(DeviceFault, match="does not answer"):
        link.ask("readl 0")


def test_an_answer_that_a_busy_machine_delays_is_waited_for(ends):
    link = Link(ends[0].fileno(), "qemu:x")
    late = threading.Timer(1.2, lambda: ends[1].sendall(b"OK 0x7\n"))
    late.start()
    assert link.ask("readl 0") == 7
    late.join()


def test_signals_do_not_end_the_link_nor_keep_it(ends):
    """A worker that does not answer is sent signals without pause."""
    link, main = Link(ends[0].fileno(), "qemu:x"), threading.main_thread().ident
    before = signal.signal(signal.SIGURG, lambda *_: None)
    stop = threading.Event()

    def kick(answer):
        time.sleep(0.02)
        for _ in range(20):
            signal.pthread_kill(main, signal.SIGURG)
            time.sleep(0.001)
        if answer:
            ends[1].sendall(b"OK 0x7\n")
        while not stop.wait(0.001):
            signal.pthread_kill(main, signal.SIGURG)

    try:
        for answer in (True, False):
            stop.clear()
            thread = threading.Thread(target=kick, args=(answer,))
            thread.start()
            try:
                if answer:
                    assert link.ask("readl 0") == 7
                else:
                    with pytest.raises(DeviceFault):
                        link.ask("readl 0")
            finally:
                stop.set()
                thread.join()
    finally:
        signal.signal(signal.SIGURG, before)


def test_random_answers_are_survived():
    noise = random.Random(1)
    for _ in range(300):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            words = [b"OK", b"OK 0x", b"\n", b"IRQ", b"\0", noise.randbytes(noise.randrange(300))]
            theirs.sendall(b"".join(noise.choices(words, k=noise.randrange(1, 20))))
            theirs.shutdown(socket.SHUT_WR)
            c = ffi.new("struct qtest_link *", {"fd": ours.fileno()})
            for _ in range(4):
                lib.qtest_ask(c, c.fd, b"x\n", 2, ffi.NULL)
            assert c.filled <= 256


@contextmanager
def answering(sock):
    """A server at the other end that answers every request, with its number in it."""
    lines, alive = iter(range(1, 1 << 30)), True

    def serve():
        with sock.makefile("r") as requests:
            for line in requests:
                word = "OK little" if line == "endianness\n" else f"OK {next(lines):#x}"
                if alive:
                    sock.sendall(f"{word}\n".encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    alive = False
    sock.shutdown(socket.SHUT_RDWR)
    thread.join()


def gone_thread():
    """The id of a thread that has ended."""
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    return thread.native_id


@pytest.mark.parametrize("half", [b"", b"O", b"OK", b"OK 0x99", b"x" * 255])
@pytest.mark.parametrize(
    "unread", [b"", b"\n", b"K 0x5\n", b"IRQ raise 1\nOK 0x7\nOK\n", b"OK\n" * 9]
)
def test_a_killed_owner_of_the_link_is_succeeded(ends, half, unread):
    """It had sent requests, and read a part of the replies or noted less than it read."""
    link = Link(ends[0].fileno(), "qemu:x")
    link.c.lock, link.c.pending, link.c.filled = gone_thread(), 3, len(half)
    ffi.memmove(link.c.line, half, len(half))
    ends[1].sendall(unread)
    with answering(ends[1]):
        assert [link.ask("readl 0") for _ in range(3)] == [1, 2, 3]
    assert link.c.lock == 0


def test_a_living_owner_of_the_link_is_waited_for(ends):
    link = Link(ends[0].fileno(), "qemu:x")
    link.c.lock = os.getpid()
    with answering(ends[1]):
        threading.Timer(0.1, lambda: setattr(link.c, "lock", 0)).start()
        assert link.ask("readl 0") == 1
        assert link.c.lock == 0


def test_a_link_whose_reply_came_too_late_is_synchronized(ends):
    link = Link(ends[0].fileno(), "qemu:x")
    link.c.gone, link.c.pending = 1, 2
    ends[1].sendall(b"OK\nOK 0x1234\n")
    with answering(ends[1]):
        with pytest.raises(DeviceFault, match="does not answer"):
            link.ask("readl 0")
        link.synchronize()
        assert link.ask("readl 0") == 1


def test_a_link_that_has_ended_asks_nothing_more(ends):
    """Or each of a device's registers would take its time limit."""
    link = Link(ends[0].fileno(), "qemu:x")
    link.c.gone = 1
    with pytest.raises(DeviceFault, match="does not answer"):
        link.ask("readl 0")
    link.c.gone = 0  # a worker writes what it likes
    with pytest.raises(DeviceFault, match="does not answer"):
        link.ask("readl 0")
    with pytest.raises(BlockingIOError):
        ends[1].recv(100, socket.MSG_DONTWAIT)


def test_a_lock_that_a_worker_has_left_to_another_process_is_taken(ends):
    """The worker has ended: whoever it names does not know of the link."""
    link = Link(ends[0].fileno(), "qemu:x")
    link.c.lock = os.getppid()
    with answering(ends[1]):
        link.synchronize()
        assert link.ask("readl 0") == 1
    assert link.c.lock == 0


def test_replies_that_another_process_takes_are_not_waited_for_without_end(ends):
    link, over = Link(ends[0].fileno(), "qemu:x"), threading.Event()

    def take():
        while not over.is_set():
            with contextlib.suppress(BlockingIOError):
                ends[0].recv(1, socket.MSG_DONTWAIT)

    def ask():
        with contextlib.suppress(DeviceFault):
            while True:
                link.ask("readl 0")

    thief, asker = (threading.Thread(target=each, daemon=True) for each in (take, ask))
    with answering(ends[1]):
        thief.start()
        asker.start()
        asker.join(scaled(20))
        ended = not asker.is_alive()
        over.set()
        thief.join()
    assert ended


@pytest.mark.parametrize("text", [b"OK 0x1\n", b"OK big\n", b"IRQ raise 1\n", b"x" * 200])
def test_a_qemu_that_answers_anything_is_not_synchronized_for_ever(ends, text):
    link = Link(ends[0].fileno(), "qemu:x")
    link.c.lock = gone_thread()
    with speaker(ends[1], text, endless=True):
        with pytest.raises(DeviceFault, match="does not answer"):
            link.ask("readl 0")
        with pytest.raises(DeviceFault, match="does not answer"):
            link.synchronize()


def test_a_process_killed_while_it_rings_leaves_a_link_that_works(ends):
    """At any instruction: random kills of a process that rings without pause."""
    link, moments = Link(ends[0].fileno(), "qemu:x"), random.Random(1)
    shared = SharedMemory("uspnet-test", 4096, inherited=True)
    c = ffi.cast("struct qtest_link *", shared.base)
    c.fd, link.c = link.c.fd, c
    with answering(ends[1]):
        for _ in range(by_tier(20, 60, 1000)):
            if (child := os.fork()) == 0:
                while True:
                    lib.qtest_ask(c, c.fd, b"x\n", 2, ffi.NULL)
            time.sleep(moments.uniform(0.0, 0.004))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            before = link.ask("readl 0")
            assert [link.ask("readl 0") for _ in range(3)] == [before + 1, before + 2, before + 3]
    shared.close()
