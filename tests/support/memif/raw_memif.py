# SPDX-License-Identifier: Apache-2.0
"""memif's control messages by hand, to say what no honest peer says. Shares nothing with uspnet."""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import mmap
import os
import random
import socket
import struct
import time

ACK, HELLO, INIT, ADD_REGION, ADD_RING, CONNECT, CONNECTED, DISCONNECT = range(1, 9)
LAYOUTS = {
    ACK: "",
    HELLO: "32sHHHHHB",
    INIT: "HIB24s32s",
    ADD_REGION: "HQ",
    ADD_RING: "HHHIBH",
    CONNECT: "32s",
    CONNECTED: "32s",
    DISCONNECT: "I96s",
}
COOKIE, C2S, NEXT = 0x3E31F20, 1, 1
LIBC = ctypes.CDLL(None)


def message(kind, *fields):
    """One message of 128 bytes."""
    return struct.pack("=H" + LAYOUTS[kind], kind, *fields).ljust(128, b"\0")


def say(sock, data, fds=()):
    """Sends it, with descriptors. False when the other side is gone."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def hear(sock, wait=2.0):
    """The next message as (type, data, fds); (0, b"", []) when the other side left."""
    sock.settimeout(wait)
    try:
        data, fds, _, _ = socket.recv_fds(sock, 256, 8)
    except ConnectionResetError:  # it closed before it read all of ours; its last words follow
        return hear(sock, wait)
    if len(data) < 2:
        return 0, b"", fds
    return struct.unpack_from("=H", data)[0], data, fds


def reason(sock):
    """The text of the DISCONNECT that comes next, past any ACKs."""
    while True:
        kind, data, fds = hear(sock)
        for fd in fds:
            os.close(fd)
        if kind == DISCONNECT:
            return data[6:102].split(b"\0")[0].decode()
        if kind == 0:
            return ""


def connect(address):
    """A socket to a server, which may be between bind and listen. Raises OSError."""
    end = time.monotonic() + 2
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            if not isinstance(error, ConnectionRefusedError) or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return sock


class Memory:
    """What a client shares: region 0 with a C2S ring, an S2C ring and a buffer for each slot."""

    def __init__(self, log2=8, slot=2048, flags=0, sealed=True):
        self.log2, self.size, self.slot = log2, 1 << log2, slot
        self.ring_bytes = 128 + 16 * self.size
        self.data_at = -(-2 * self.ring_bytes // 4096) * 4096
        self.bytes = self.data_at + 2 * self.size * slot
        if flags & os.MFD_HUGETLB:
            self.bytes = -(-self.bytes // (2 << 20)) * (2 << 20)
        self.fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING | flags)
        os.ftruncate(self.fd, self.bytes)
        if sealed:  # then the other side can't add a seal against shrinking
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
        self.map = mmap.mmap(self.fd, self.bytes)
        self.bells = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        for ring in range(2):
            struct.pack_into("=IHH", self.map, ring * self.ring_bytes, COOKIE, 1, 0)
            for i in range(self.size):
                self.describe(ring, i)

    def describe(self, ring, i, flags=0, region=0, length=60, offset=None):
        """Writes one descriptor."""
        if offset is None:
            offset = self.data_at + (ring * self.size + i % self.size) * self.slot
        at = ring * self.ring_bytes + 128 + i % self.size * 16
        struct.pack_into("=HHIII", self.map, at, flags, region, length, offset, 0)

    def head(self, ring, value):
        struct.pack_into("=H", self.map, ring * self.ring_bytes + 6, value & 0xFFFF)

    def tail(self, ring):
        return struct.unpack_from("=H", self.map, ring * self.ring_bytes + 64)[0]

    def conversation(self, number=0, secret=b""):
        """What an honest client says, as (data, fds)."""
        return [
            (message(INIT, 0x0200, number, 0, secret, b"hostile"), []),
            (message(ADD_REGION, 0, self.bytes), [self.fd]),
            (message(ADD_RING, C2S, 0, 0, 0, self.log2, 0), [self.bells[0]]),
            (message(ADD_RING, 0, 0, 0, self.ring_bytes, self.log2, 0), [self.bells[1]]),
            (message(CONNECT, b"hostile"), []),
        ]

    def change(self, chance):
        """Does something to the file behind the region: what it was when it was announced, it is
        no more.
        """
        with contextlib.suppress(OSError):
            match chance.choice(["shrink", "shrink", "grow", "hole", "replace", "seal"]):
                case "shrink":
                    sizes = [0, 1, self.ring_bytes, 4096, self.data_at, self.bytes - 1]
                    os.ftruncate(self.fd, chance.choice(sizes))
                case "grow":
                    os.ftruncate(self.fd, self.bytes + chance.choice([0, 1, 4096, 1 << 20]))
                case "hole":
                    punch(self.fd, chance.randrange(4) << 12, chance.choice([4096, self.bytes]))
                case "replace":  # what is announced from now on is another file
                    other = os.memfd_create("other")
                    os.ftruncate(other, chance.choice([0, 4096, self.bytes, 2 * self.bytes]))
                    os.dup2(other, self.fd)
                    os.close(other)
                case "seal":
                    seals = [fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE, 0x10]
                    fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, chance.choice(seals))

    def close(self):
        self.map.close()
        for fd in (self.fd, *self.bells):
            os.close(fd)


def punch(fd, start, size):
    """Gives a part of a file's pages back; what was in them is gone."""
    keep_size_punch_hole = 3
    LIBC.fallocate(fd, keep_size_punch_hole, ctypes.c_long(start), ctypes.c_long(size))


def shake_hands(address, memory, number=0):
    """Connects as an honest client does; the socket afterwards."""
    sock = connect(address)
    assert hear(sock)[0] == HELLO
    for data, fds in memory.conversation(number):
        say(sock, data, fds)
    while (kind := hear(sock)[0]) == ACK:
        pass
    assert kind == CONNECTED, kind
    return sock


class Mutator:
    """Turns honest conversations into dishonest ones, the same ones for the same seed."""

    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.strange = [
            *os.pipe(),
            os.open("/dev/null", os.O_RDWR),
            os.open("/dev/zero", os.O_RDWR),
            os.open(folder, os.O_RDONLY),
            os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT),
            os.memfd_create("empty"),
            os.eventfd(0),
            os.eventfd(5, os.EFD_SEMAPHORE),
            *(sock.detach() for sock in socket.socketpair()),
        ]
        os.ftruncate(self.strange[5], 1 << 20)
        with contextlib.suppress(OSError):
            self.strange.append(os.memfd_create("huge", os.MFD_HUGETLB))

    def conversation(self, honest):
        """A few messages to send, each with its descriptors. None: change the memory here."""
        chance = self.random
        talk = list(honest)
        for _ in range(chance.choice([0, 1, 1, 1, 2, 4])):
            self.mutate(talk, chance.randrange(len(talk)), honest)
        if chance.random() < 0.3:
            talk.insert(chance.randrange(len(talk) + 1), None)
        return talk

    def mutate(self, talk, at, honest):
        """One change of a conversation."""
        chance = self.random
        match chance.randrange(10):
            case 0:
                chance.shuffle(talk)
            case 1:
                talk.insert(at, chance.choice(honest))
            case 2 if len(talk) > 1:
                del talk[at]
            case 3:
                talk[at] = (chance.randbytes(chance.choice([0, 1, 2, 127, 129, 4096])), [])
            case 4:
                kind = struct.pack("=H", chance.randrange(11))
                talk[at] = (kind + chance.randbytes(126), talk[at][1])
            case 5:
                talk[at] = (talk[at][0], self.descriptors())
            case 6:
                talk.insert(at, self.announcement())
            case _:
                talk[at] = (self.flip(talk[at][0]), talk[at][1])

    def announcement(self):
        """A region or a ring that nobody expects, or again, and elsewhere."""
        chance = self.random
        index, size = chance.choice([0, 0, 1, 63]), chance.choice([4096, 1 << 20, 1 << 30])
        if chance.random() < 0.5:
            return message(ADD_REGION, index, size), [chance.choice(self.strange)]
        region, offset = chance.randrange(2), chance.choice([0, 64, 4096, 0xFFFFFF00])
        ring = (chance.randrange(2), index, region, offset, chance.randrange(16), 0)
        return message(ADD_RING, *ring), [self.strange[7]]

    def descriptors(self):
        """None, some or very many, of any kind."""
        count = self.random.choice([0, 1, 1, 2, 8, 9, 253])
        return self.random.choices(self.strange, k=count)

    def flip(self, data):
        """A field somewhere becomes extreme, or a byte random."""
        changed = bytearray(data)
        at = self.random.randrange(min(len(data), 24) or 1)
        new = self.random.choice(
            [
                b"\xff",
                b"\0",
                b"\xff\xff",
                b"\xff" * 4,
                b"\0\0\0\x80",
                b"\x01",
                self.random.randbytes(1),
            ]
        )
        changed[at : at + len(new)] = new
        return bytes(changed[: len(data)])

    def descriptor(self, region_bytes):
        """A slot's 16 bytes: random, extreme, or nearly right."""
        chance = self.random
        return struct.pack(
            "=HHIII",
            chance.choice([0, 0, 0, 0, 1, 1, 2, 0xFFFF]),
            chance.choice([0, 0, 0, 0, 0, 1, 0xFFFF]),
            chance.choice(
                [
                    0,
                    1,
                    60,
                    64,
                    1514,
                    2048,
                    9000,
                    65535,
                    0x7FFFFFFF,
                    0xFFFFFFFF,
                    chance.randrange(1 << 32),
                    chance.randrange(1, 2049),
                ]
            ),
            chance.choice(
                [
                    0,
                    region_bytes - 60,
                    region_bytes - 1,
                    region_bytes,
                    0xFFFFFFFF,
                    chance.randrange(1 << 32),
                    chance.randrange(region_bytes),
                ]
            )
            & 0xFFFFFFFF,
            chance.randrange(1 << 32),
        )

    def close(self):
        for fd in self.strange:
            os.close(fd)
