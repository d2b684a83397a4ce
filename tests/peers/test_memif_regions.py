# SPDX-License-Identifier: Apache-2.0
"""Shared memory that changes between any two messages, and what a zero-copy client shares."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket
import struct
import time
from pathlib import Path

import pytest

from tests.support.memif import raw_memif as raw
from tests.support.waiting import scaled, until

HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h
SHORT, WRONG = "Region is shorter than announced", "Wrong ring"


@pytest.fixture
def server(uspnet, tmp_path):
    """A uspnet that counts what clients send; a good client is served afterwards, too."""
    path = tmp_path / "m.sock"
    job = uspnet("capture", f"memif:{path},role=server")
    until(path.exists)
    yield str(path)
    memory = raw.Memory(4)
    with raw.shake_hands(str(path), memory) as sock:
        memory.head(0, 10)
        until(lambda: memory.tail(0) == 10)
        sock.shutdown(1)
    memory.close()
    assert job.interrupt()["received"] >= 10


def free_huge_pages():
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("HugePages_Free"))


@pytest.fixture
def some_huge_pages():
    """A few free huge pages; as many as before at the end."""
    if free_huge_pages() >= 32:
        yield
        return
    if os.geteuid():
        pytest.skip("needs huge pages: 32 free ones, or root to make them")
    before = HUGE_PAGES.read_text()
    HUGE_PAGES.write_text(str(int(before) + 32))
    if free_huge_pages() < 32:
        HUGE_PAGES.write_text(before)
        pytest.skip("needs huge pages: 32 free ones")
    yield
    HUGE_PAGES.write_text(before)


def plain(memory):
    """The same memory as a file that nobody can seal."""
    fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
    os.ftruncate(fd, memory.bytes)
    os.pwrite(fd, memory.map[:], 0)
    os.close(memory.fd)
    memory.fd = fd


def huge(memory):
    """The same memory on huge pages."""
    fd = os.memfd_create("huge", os.MFD_HUGETLB)
    os.ftruncate(fd, 2 << 20)
    with mmap.mmap(fd, 2 << 20) as copy:
        copy[: memory.bytes] = memory.map[:]
    os.close(memory.fd)
    memory.fd = fd


@pytest.fixture(params=[None, plain, huge], ids=["memfd", "tmpfs", "hugetlbfs"])
def kind(request):
    """Turns a Memory's file into another kind of file."""
    if request.param == huge:
        request.getfixturevalue("some_huge_pages")
    return request.param


def talk(server, memory, steps, between):
    """The conversation, one message after the other's answer; `between(sock)` after so many."""
    sock = raw.connect(server)
    assert raw.hear(sock)[0] == raw.HELLO
    for number, (data, fds) in enumerate(memory.conversation()):
        if number == steps:
            between(sock)
        raw.say(sock, data, fds)
        if number < steps:
            assert raw.hear(sock)[0] == raw.ACK
    return sock


@pytest.mark.parametrize("left", [0, 4096])
@pytest.mark.parametrize("steps", [1, 2, 3, 4], ids=["init", "region", "ring", "rings"])
def test_a_region_that_shrinks_before_connect_is_refused(server, steps, left, kind):
    memory = raw.Memory(8)
    if kind:
        kind(memory)
    shrink = lambda _sock: os.ftruncate(memory.fd, left if kind != huge else 0)  # noqa: E731
    with talk(server, memory, steps, shrink) as sock:
        # Mapping a file of hugetlbfs makes it as long as what is mapped; then it is empty.
        assert raw.reason(sock) == (WRONG if kind == huge and steps == 1 else SHORT)
    memory.close()


def test_a_region_that_shrinks_later_takes_the_connection_down(server, kind):
    memory = raw.Memory(8)
    if kind:
        kind(memory)
    with raw.shake_hands(server, memory) as sock:
        with mmap.mmap(memory.fd, memory.bytes) as ring:
            struct.pack_into("=H", ring, 6, 200)
        time.sleep(0.1)
        os.ftruncate(memory.fd, 0)
        assert raw.reason(sock) == "the peer truncated its shared memory"
    memory.close()


def test_a_region_may_grow(server):
    memory = raw.Memory(4)
    grow = lambda _sock: os.ftruncate(memory.fd, 1 << 30)  # noqa: E731
    with talk(server, memory, 4, grow) as sock:
        while (kind := raw.hear(sock)[0]) == raw.ACK:
            pass
        assert kind == raw.CONNECTED
        memory.describe(0, 0, offset=memory.bytes, length=60)  # past what it announced
        memory.head(0, 1)
        until(lambda: memory.tail(0) == 1)
    memory.close()


def seal_against_writing(memory):
    """Our own mapping goes on; nobody can make another one to write (since Linux 5.1)."""
    with contextlib.suppress(PermissionError):  # the other side has allowed no more seals
        fcntl.fcntl(memory.fd, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)


@pytest.mark.parametrize("steps", [2, 3, 4], ids=["region", "ring", "rings"])
def test_a_region_that_was_mapped_stays_one_that_can_be(server, steps):
    """The loops' process maps it once more, when the client is connected."""
    memory = raw.Memory(4, sealed=False)
    with talk(server, memory, steps, lambda _: seal_against_writing(memory)) as sock:
        while (kind := raw.hear(sock)[0]) == raw.ACK:
            pass
        assert kind == raw.CONNECTED
        memory.head(0, 1)
        until(lambda: memory.tail(0) == 1)
    memory.close()


def test_a_region_that_nobody_else_can_write_is_refused(server):
    memory = raw.Memory(4, sealed=False)
    with talk(server, memory, 1, lambda _: seal_against_writing(memory)) as sock:
        assert raw.reason(sock) == "Can't map region: Operation not permitted"
    memory.close()


@pytest.mark.parametrize(
    ("steps", "again", "text"),
    [
        (2, 1, "Invalid region index"),
        (4, 1, "Invalid region index"),
        (3, 2, "Invalid ring index"),
        (4, 2, "Invalid ring index"),
        (4, 0, "Unexpected message"),
        (1, 2, "Invalid ring region or offset"),  # a ring before its region
        (1, 4, "Unexpected message"),  # CONNECT with nothing; then a region is too late
        (2, 4, "Unexpected message"),
    ],
)
def test_nothing_is_announced_twice_or_too_early(server, steps, again, text):
    memory, other = raw.Memory(4), raw.Memory(2)
    (data, _), fds = memory.conversation()[again], other.conversation()[again][1]

    def announce(sock):
        raw.say(sock, data, fds)

    with talk(server, memory, steps, announce) as sock:
        assert raw.reason(sock) == text
    memory.close()
    other.close()


def test_after_connect_nothing_may_be_announced(server):
    for at in range(5):
        memory = raw.Memory(4)
        with raw.shake_hands(server, memory) as sock:
            raw.say(sock, *memory.conversation()[at])
            assert raw.reason(sock) == "Unexpected message"
        memory.close()


@pytest.mark.parametrize(
    ("flags", "at", "text"),
    [
        (os.O_PATH, 1, "Invalid region"),
        (os.O_RDONLY, 1, "Can't map region: Permission denied"),
        (os.O_PATH, 2, "Invalid interrupt fd"),
    ],
)
def test_half_a_descriptor_is_refused(server, flags, at, text):
    memory = raw.Memory(4)
    conversation = memory.conversation()
    data, (fd,) = conversation[at]
    half = os.open(f"/proc/self/fd/{fd}", flags)
    with raw.connect(server) as sock:
        raw.hear(sock)
        for i, message in enumerate(conversation):
            raw.say(sock, *((data, [half]) if i == at else message))
        assert raw.reason(sock) == text
    os.close(half)
    memory.close()


# -- what a zero-copy client shares ---------------------------------------------------------------


class Mirror:
    """A server that greets a client and keeps what it is given: memory by region."""

    def __init__(self, name):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.name = name
        self.listener.bind("\0" + name)
        self.listener.listen(1)
        self.listener.settimeout(scaled(20))
        self.sock, self.regions = None, {}

    def meet(self):
        self.sock, _ = self.listener.accept()
        raw.say(self.sock, raw.message(raw.HELLO, b"mirror", 0x200, 0x200, 63, 0, 0, 14))
        while True:
            kind, data, fds = raw.hear(self.sock, scaled(20))
            if kind == raw.ADD_REGION:
                index, size = struct.unpack_from("=HQ", data, 2)
                self.regions[index] = (fds[0], size)
            if kind == raw.CONNECT:
                raw.say(self.sock, raw.message(raw.CONNECTED, b"mirror"))
                return
            assert kind, "the client left"
            raw.say(self.sock, raw.message(raw.ACK))

    def close(self):
        for sock in filter(None, (self.sock, self.listener)):
            sock.close()
        for fd, _ in self.regions.values():
            os.close(fd)


@pytest.fixture
def mirror():
    made = Mirror(f"uspnet-mirror-{os.getpid()}")
    yield made
    made.close()


def test_a_zero_copy_client_shares_no_descriptor_ring(uspnet, mirror):
    pytest.importorskip("uspnet.transports.qemu.machine").binary()
    job = uspnet("fwd", "qemu:e1000,loop=on", f"memif:@{mirror.name}")
    mirror.meet()
    time.sleep(0.3)
    fd, size = mirror.regions[1]
    with mmap.mmap(fd, size) as memory:
        for page in range(0, size, 4096):  # four descriptors in a row, each with a pool's address
            words = struct.unpack_from("<8Q", memory, page)[::2]
            assert not all(1 << 32 <= word < (1 << 32) + size for word in words), hex(page)
    assert job.interrupt()["exit"] == 0
