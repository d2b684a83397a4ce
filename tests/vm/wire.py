# SPDX-License-Identifier: Apache-2.0
"""A wire between a guest's NICs and the test."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time

from tests.support.waiting import scaled


class Wire:
    """The test's end of a wire: one datagram is one frame."""

    def __init__(self, folder, kind):
        self.near, self.far = str(folder / f"{kind}.t"), str(folder / f"{kind}.q")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.near)
        self.frames = queue.Queue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self):
        """Takes what comes, since a socket keeps only a few; ends with an empty frame."""
        while frame := self.socket.recv(65536):
            self.frames.put(frame)

    def send(self, frame):
        self.socket.sendto(frame, self.far)

    def receive(self, count, timeout=10.0):
        """Up to `count` frames; fewer when the time is over."""
        frames, end = [], time.monotonic() + scaled(timeout)
        with contextlib.suppress(queue.Empty):
            while len(frames) < count:
                frames.append(self.frames.get(timeout=max(0, end - time.monotonic())))
        return frames

    def drain(self):
        """Forgets what has come so far."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.frames.get_nowait()

    def close(self):
        self.socket.sendto(b"", self.near)
        self.listener.join()
        self.socket.close()
        os.unlink(self.near)
        with contextlib.suppress(FileNotFoundError):  # QEMU's end, when it came so far
            os.unlink(self.far)
