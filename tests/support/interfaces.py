# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the driver tests: frames, what tcpdump saw, and a port without a job around it."""

from __future__ import annotations

import random
import signal
import struct
import subprocess
import time

import pytest

from tests.support.captures import pcap_frames
from tests.support.waiting import scaled, until
from uspnet.fastpath import ffi
from uspnet.pool import Pool
from uspnet.ports.registry import make_port

VLAN_VALID, VLAN_TPID_VALID = 0x10, 0x40  # tp_status in struct tpacket_auxdata


def make_frames(sizes, seed=1):
    """Random frames from and to addresses that no interface has, with an experimental type."""
    maker = random.Random(seed)
    head = bytes.fromhex("02000000000202000000000188b5")
    return [head + maker.randbytes(size - 14) for size in sizes]


def receive(sock, count):
    """That many frames from a raw socket, VLAN tags put back."""
    frames = []
    while len(frames) < count:
        frame, control, _, _ = sock.recvmsg(65536, 256)
        for _, _, aux in control:
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", aux)
            if status & VLAN_VALID:
                kind = tpid if status & VLAN_TPID_VALID else 0x8100
                frame = frame[:12] + struct.pack("!HH", kind, tci) + frame[12:]
        frames.append(frame)
    return frames


class Tcpdump:
    """tcpdump on an interface, writing what comes in to a file."""

    def __init__(self, namespace, ifname, path):
        self.path = path
        self.process = subprocess.Popen(
            namespace.command(
                *("tcpdump", "-i", ifname, "-Q", "in", "-U", "-w", path),
                *("--immediate-mode", "-s", "2048", "-B", "65536"),  # room for 32,768 packets
            ),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "listening on" in self.process.stderr.readline()

    def frames(self, count):
        """Ends tcpdump when it has written `count` frames and then nothing for a while; every
        frame that it wrote.
        """
        until(lambda: len(pcap_frames(self.path)) >= count)
        size = -1
        while size != (size := self.path.stat().st_size):
            time.sleep(0.3)
        self.process.send_signal(signal.SIGINT)
        text = self.process.communicate(timeout=scaled(60))[1]
        assert "\n0 packets dropped by kernel" in text
        return pcap_frames(self.path)


class Driven:
    """One port whose queues the test itself calls."""

    def __init__(self, namespace, spec, buffers=4096, frame=0):
        self.frame = frame
        with namespace.entered():
            self.port = make_port(spec)
            try:
                self._start(buffers)
            except BaseException:
                self.port.close()
                raise
        self.stamps = ffi.new("uint64_t[64]")
        self.rx.base.stamps = self.stamps
        self.packets = ffi.new("struct packet[64]")

    def _start(self, buffers):
        self.port.open()
        self.pool = Pool(buffers, max(self.port.frame, self.frame))
        self.port.attach(self.pool)
        self.counters = ffi.new("struct counters[2]")
        self.stack = self.pool.stack(buffers)
        self.rx = self.port.queue("rx", 0, self.stack, self.counters + 0)
        self.tx = self.port.queue("tx", 0, self.stack, self.counters + 1)
        self.port.start()

    def receive(self, most=64):
        """One burst: pairs of frame and time stamp."""
        self.stamps[0:64] = [0] * 64
        base, seen = self.rx.base, []
        for i in range(base.burst(base, self.packets, most)):
            p = self.packets[i]
            at = self.pool.memory.base + p.index * self.pool.size + p.offset
            seen.append((bytes(ffi.buffer(at, p.length)), int(self.stamps[i])))
            self.stack.free[self.stack.top] = p.index
            self.stack.top += 1
        return seen

    def received(self, count):
        """Frames, in as many bursts as it takes until there are so many: a kernel may hand them
        over a moment after they were sent.
        """
        seen = []
        until(lambda: seen.extend(self.receive()) or len(seen) >= count)
        return [frame for frame, _ in seen]

    def send(self, frames, offset=0):
        """One burst, each frame at that offset in its buffer. Returns how many were taken."""
        base = self.tx.base
        for i, frame in enumerate(frames):
            self.stack.top -= 1
            index = self.stack.free[self.stack.top]
            self.packets[i] = (index, offset, len(frame))
            at = self.pool.memory.base + index * self.pool.size + offset
            ffi.memmove(at, frame, len(frame))
        return base.burst(base, self.packets, len(frames))

    def close(self):
        self.port.stop()
        self.port.close()
        self.pool.close()


@pytest.fixture
def frames():
    return make_frames


@pytest.fixture
def read_frames():
    return receive


@pytest.fixture
def tcpdump(namespace, tmp_path, needs):
    """Starts tcpdump on an interface of the test's namespace."""
    needs("tcpdump")
    started = []

    def start(ifname):
        started.append(Tcpdump(namespace, ifname, tmp_path / f"{ifname}.pcap"))
        return started[-1]

    yield start
    for dump in started:
        if dump.process.poll() is None:
            dump.process.kill()
            dump.process.communicate()
        dump.process.stderr.close()


@pytest.fixture
def drive(namespace):
    """Opens a port in the test's namespace, for the test to call its queues."""
    made = []

    def open_port(spec, **more):
        made.append(Driven(namespace, spec, **more))
        return made[-1]

    yield open_port
    for driven in made:
        driven.close()
