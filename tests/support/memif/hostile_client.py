# SPDX-License-Identifier: Apache-2.0
"""A program: a client port of ours under attack by the server that it connects to.

`hostile_client.py SEED MESSAGES zero-copy=on|off`. Meant for a build with sanitizers. Prints, as
JSON, what was sent and what the attack left behind.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import uspnet.jobs.job
import uspnet.jobs.waiting
import uspnet.ports.memif.port
from tests.support.memif import raw_memif as raw
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port

uspnet.ports.memif.port.RETRY_S = uspnet.jobs.job.TICK_S = 0.001  # an impatient client
uspnet.jobs.waiting.LOOK_S = 0.001
HELLO = raw.message(raw.HELLO, b"hostile", 0x200, 0x200, 255, 0, 0, 10)


def resident():
    """KiB of memory in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(x.split()[1]) for x in lines if x.startswith(("RssAnon", "RssShmem")))


class Attack:
    """Everything that a server can do wrong."""

    def __init__(self, listener, seed, wanted, job):
        self.listener, self.wanted, self.job = listener, wanted, job
        self.mutator = raw.Mutator(seed, tempfile.mkdtemp())
        self.random = self.mutator.random
        self.sent, self.report, self.linked = 0, {}, 0

    def __call__(self):
        try:
            self.greet(time.sleep, 0.1)  # a client that never had a server gives up on a bad one
            for _ in range(100):
                self.talk()
            fds, memory = len(os.listdir("/proc/self/fd")), resident()
            while self.sent < self.wanted:
                self.talk()
                if self.random.random() < 0.05:
                    self.greet(self.scribble)
            received = self.job.total("rx", "packets")
            self.greet(self.honest)
            self.report |= {
                "messages": self.sent,
                "linked": self.linked,
                "fds": len(os.listdir("/proc/self/fd")) - fds,
                "memory_kib": resident() - memory,
                "received_after": self.job.total("rx", "packets") - received,
            }
        finally:
            self.job.stop()

    def talk(self):
        """Mutated replies, whatever the client says."""
        sock, _ = self.listener.accept()
        ack = raw.message(raw.ACK)
        talk = [
            (HELLO, []),
            *[(ack, [])] * self.random.randrange(6),
            (raw.message(raw.CONNECTED, b"hostile"), []),
        ]
        with sock:
            for step in filter(None, self.mutator.conversation(talk)):  # the memory isn't ours
                self.sent += raw.say(sock, *step)
            sock.shutdown(1)
            with contextlib.suppress(OSError):
                while (heard := raw.hear(sock))[0]:
                    for fd in heard[2]:
                        os.close(fd)

    def greet(self, then, *args):
        """An honest handshake; `then(...)` gets the client's descriptors, rings last."""
        sock, _ = self.listener.accept()
        regions, rings = [], []
        with sock:
            raw.say(sock, HELLO)
            while True:
                kind, _, fds = raw.hear(sock)
                if kind in (0, raw.DISCONNECT):
                    break
                (regions if kind == raw.ADD_REGION else rings).extend(fds)
                if kind == raw.CONNECT:
                    raw.say(sock, raw.message(raw.CONNECTED, b"hostile"))
                    self.linked += 1
                    then(*args) if args else then(regions[0], rings)
                    if then == self.scribble:
                        self.holes(regions)
                    break
                raw.say(sock, raw.message(raw.ACK))
            for fd in regions + rings:
                os.close(fd)

    def scribble(self, fd, bells):
        """Random descriptors and positions in the client's rings, and blocking eventfds."""
        for bell in bells:
            os.set_blocking(bell, True)
        chance = self.random
        with mmap.mmap(fd, os.fstat(fd).st_size) as memory:
            for _ in range(300):
                ring = chance.randrange(2) * (128 + (16 << 10))
                at = ring + 128 + 16 * chance.randrange(1024)
                memory[at : at + 16] = self.mutator.descriptor(len(memory))
                tail = chance.choice(
                    [
                        struct.unpack_from("=H", memory, ring + 64)[0] + 3,
                        struct.unpack_from("=H", memory, ring + 6)[0],
                        chance.randrange(65536),
                    ]
                )
                if chance.random() < 0.2:
                    struct.pack_into("=H", memory, ring + 64, tail & 0xFFFF)
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)  # sealed: it can't
                self.report["shrunk"] = True

    def holes(self, regions):
        """Gives pages of the client's memories back, at random."""
        for fd in regions:
            size = os.fstat(fd).st_size
            for _ in range(self.random.randrange(20)):
                at, much = self.random.randrange(size) & -4096, self.random.choice([4096, size])
                raw.punch(fd, at, much)
            for size in (0, 1 << 40):
                with contextlib.suppress(PermissionError):
                    os.ftruncate(fd, size)
                    self.report["shrunk"] = True

    def honest(self, fd, bells):
        """Fills ten of the slots that the client lends."""
        with mmap.mmap(fd, os.fstat(fd).st_size) as memory:
            ring = 128 + (16 << 10)
            time.sleep(0.2)
            for i in range(10):
                struct.pack_into("=HHI", memory, ring + 128 + 16 * i, 0, 0, 60)
            struct.pack_into("=H", memory, ring + 64, 10)
            time.sleep(0.2)


def main():
    seed, wanted, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    address = f"uspnet-hostile-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0{address}")
    listener.listen(8)
    listener.settimeout(20)
    port = make_port(f"memif:@{address},{how},wait=forever")
    with CaptureJob(port, Limits(poll="adaptive"), None) as job:
        attack = Attack(listener, seed, wanted, job)
        thread = threading.Thread(target=attack)
        thread.start()
        result = job.run()
        thread.join()
    attack.mutator.close()
    listener.close()
    result = {"uspnet": "0", **result.as_json()}
    print(json.dumps({**attack.report, "result": result}))


if __name__ == "__main__":
    main()
