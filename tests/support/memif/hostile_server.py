# SPDX-License-Identifier: Apache-2.0
"""A program: a server port of ours under attack by hostile clients, in one process.

`hostile_server.py SEED MESSAGES`. Meant for a build with sanitizers. Prints, as JSON, what was
sent and what the attack left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.support.memif import raw_memif as raw
from uspnet.fastpath import ffi, lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port


def resident():
    """KiB of memory in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(x.split()[1]) for x in lines if x.startswith(("RssAnon", "RssShmem")))


class Attack:
    """Everything that a client can do wrong."""

    def __init__(self, address, seed, wanted, job):
        self.address, self.wanted, self.job = address, wanted, job
        self.folder = tempfile.mkdtemp()
        self.mutator = raw.Mutator(seed, self.folder)
        self.random = self.mutator.random
        self.sent, self.changes, self.report = 0, 0, {}
        self.fault = ffi.new("uint32_t *")

    def __call__(self):
        try:
            self.talks()
            fds, memory = len(os.listdir("/proc/self/fd")), resident()
            while self.sent < self.wanted:
                self.talks()
            self.flood()
            for memory_of in (self.sealed, self.plain, self.huge):
                self.truncate(memory_of)
            self.settle()
            self.report |= {
                "messages": self.sent,
                "changes": self.changes,
                "fds": len(os.listdir("/proc/self/fd")) - fds,
                "memory_kib": resident() - memory,
                "received_after": self.honest(),
            }
        finally:
            self.job.stop()

    def talks(self):
        """Two hundred mutated handshakes; some get through, and lie in their rings."""
        for _ in range(200):
            memory = raw.Memory(self.random.choice([1, 2, 4]), sealed=self.random.random() < 0.3)
            ours = ffi.from_buffer("uint8_t[]", memory.map)
            lib.guard_add(ours, -(-memory.bytes // 4096) * 4096, self.fault)  # it is our file, too
            with contextlib.suppress(OSError):
                self.talk(memory)
            lib.guard_remove(ours)
            ffi.release(ours)
            memory.close()

    def talk(self, memory):
        sock = raw.connect(self.address)
        with sock:
            for step in self.mutator.conversation(memory.conversation()):
                if step:
                    self.sent += raw.say(sock, *step)
                else:
                    self.changes += 1
                    memory.change(self.random)
            for _ in range(20):
                ring = self.random.randrange(2)
                at = ring * memory.ring_bytes + 128 + 16 * self.random.randrange(memory.size)
                memory.map[at : at + 16] = self.mutator.descriptor(memory.bytes)
                memory.head(ring, memory.tail(ring) + self.random.randrange(memory.size + 1))
                if self.random.random() < 0.02:
                    self.changes += 1
                    memory.change(self.random)
            sock.shutdown(1)
            while raw.hear(sock)[0]:
                pass

    def flood(self):
        """Many connections that say nothing; the server lets the oldest go."""
        socks = []
        for _ in range(200):
            with contextlib.suppress(OSError):
                socks.append(raw.connect(self.address))
        for sock in socks:
            sock.close()

    def sealed(self):
        return raw.Memory(8)

    def plain(self):
        memory = raw.Memory(8, sealed=False)
        os.close(memory.fd)
        memory.fd = os.open(f"/dev/shm/uspnet-test-{os.getpid()}", os.O_RDWR | os.O_CREAT)
        os.unlink(f"/dev/shm/uspnet-test-{os.getpid()}")
        os.ftruncate(memory.fd, memory.bytes)
        os.pwrite(memory.fd, memory.map[:], 0)
        return memory

    def huge(self):
        memory = raw.Memory(8, flags=os.MFD_HUGETLB)
        memory.bytes -= 4096  # the client says less than the file has: not whole huge pages
        return memory

    def truncate(self, make):
        """Shrinks memory that the worker is reading from. The server says good-bye."""
        self.settle()
        try:
            memory = make()
        except OSError as error:
            self.report.setdefault("skipped", []).append(f"{make.__name__}: {error}")
            return
        with raw.shake_hands(self.address, memory) as sock:
            for i in range(2000):
                memory.head(0, i % 65536) if memory.map and make != self.plain else None
            with contextlib.suppress(PermissionError):
                os.ftruncate(memory.fd, 0)
                text = raw.reason(sock)
                assert "truncated" in text or "ring index" in text, text
                self.report.setdefault("truncated", []).append(make.__name__)
        memory.close()

    def settle(self):
        """Until the server has let go of everybody."""
        port = self.job.ports[0]
        end = time.monotonic() + 8
        while (port.session or port.listener.pending) and time.monotonic() < end:
            time.sleep(0.01)
        assert not port.session
        assert not port.listener.pending

    def honest(self):
        """A good client still gets through: packets received from it."""
        before = self.job.total("rx", "packets")
        memory = raw.Memory(8)
        with raw.shake_hands(self.address, memory) as sock:
            memory.head(0, 200)
            end = time.monotonic() + 5
            while memory.tail(0) != 200 and time.monotonic() < end:
                time.sleep(0.01)
            sock.shutdown(1)
            raw.hear(sock)
        memory.close()
        return self.job.total("rx", "packets") - before


def main():
    seed, wanted = int(sys.argv[1]), int(sys.argv[2])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    address = f"\0uspnet-hostile-{os.getpid()}"
    port = make_port(f"memif:@{address[1:]},role=server")
    with CaptureJob(port, Limits(), None) as job:
        attack = Attack(address, seed, wanted, job)
        thread = threading.Thread(target=attack)
        thread.start()
        result = job.run()
        thread.join()
    attack.mutator.close()
    result = {"uspnet": "0", **result.as_json()}
    print(json.dumps({**attack.report, "result": result}))


if __name__ == "__main__":
    main()
