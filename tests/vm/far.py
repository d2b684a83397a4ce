# SPDX-License-Identifier: Apache-2.0
"""A kernel of the host's at the far end of a guest's wire, and SSH from there into the guest."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading

from tests.support.waiting import scaled, until
from uspnet.kernel.tun import open_queues

SEND_S = 0.1  # how long a NIC without room holds up a frame before the end is looked for
INTERFACE = "far"


class FarKernel:
    """A TAP in a network namespace: what is on the wire comes in there, and the other way round."""

    def __init__(self, namespace, wire, address):
        self.namespace, self.wire, self.ended = namespace, wire, False
        with namespace.entered():
            (self.tap,) = open_queues(INTERFACE, INTERFACE, 1, exclusive=True)
        os.set_blocking(self.tap, True)
        namespace.ip("address", "add", address, "dev", INTERFACE)
        namespace.ip("link", "set", "dev", INTERFACE, "up")
        wire.drain()
        self.out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        limit = struct.pack("ll", *divmod(int(SEND_S * 1e6), 10**6))
        self.out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.threads = [threading.Thread(target=each) for each in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        """What this kernel sends reaches the guest; it waits where QEMU has no room."""
        with contextlib.suppress(OSError):  # the interface, or QEMU, is gone
            while not self.ended:
                frame = os.read(self.tap, 65536)
                while not self.ended:
                    with contextlib.suppress(BlockingIOError):
                        self.out.sendto(frame, self.wire.far)
                        break

    def _receive(self):
        """What the guest's NICs send reaches this kernel."""
        with contextlib.suppress(OSError):
            for frame in iter(self.wire.frames.get, b""):
                os.write(self.tap, frame)

    def close(self):
        self.ended = True
        self.namespace.ip("link", "delete", "dev", INTERFACE)  # which ends what reads there
        self.wire.frames.put(b"")
        for thread in self.threads:
            thread.join()
        self.out.close()
        os.close(self.tap)


class Ssh:
    """A shell of the guest's, in an SSH session that began in a namespace of the host's."""

    def __init__(self, guest, namespace, address, folder):
        self.guest, self.said, self.asked = guest, folder / "session", 0
        keys = {name: self._key(guest.share / name) for name in ("host", "client")}
        allow = "mkdir -p -m 700 .ssh && cat >.ssh/authorized_keys && chmod 600 .ssh/*"
        line = f"cd ~root && echo '{keys['client']}' | ({allow})"
        assert guest.run(["sh", "-c", line]).code == 0
        words = ("-F", "-E", "-s", "-m", "-r", guest.share / "host", "-p", f"{address}:22")
        self.server = guest.background(["dropbear", *words])
        until(lambda: "Not backgrounding" in self.server.output()[1], 60, 0.2, self.server.output)
        line = ("dbclient", "-T", "-y", "-y", "-i", guest.share / "client", f"root@{address}")
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                namespace.command(*line, "exec sh"),
                stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip

    @staticmethod
    def _key(path):
        """Makes a key pair. Returns the public key."""
        words = ["dropbearkey", "-t", "ed25519", "-f", path]
        path.unlink(missing_ok=True)
        shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        return next(line for line in shown.splitlines() if line.startswith("ssh-"))

    def types(self, command):
        """Types a line, whether it gets there now or not."""
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def hears(self, text, seconds=60):
        """Waits until the session has shown this line."""
        shown = lambda: text in self.said.read_text().splitlines()  # noqa: E731
        until(shown, seconds, 0.1, lambda: f"no {text!r}: {self.said.read_text()}")
        assert self.process.poll() is None

    def answers(self):
        """It does what it is asked."""
        self.asked += 1
        self.types(f"echo $(({self.asked} * 1000))")
        self.hears(f"{self.asked}000")

    def ends(self, code):
        """Leaves it. Fails unless it ends with the code that the shell ends with."""
        self.types(f"exit {code}")
        assert self.process.wait(scaled(60)) == code, self.said.read_text()

    def close(self):
        self.process.kill()
        self.process.communicate()
