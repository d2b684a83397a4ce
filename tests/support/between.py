# SPDX-License-Identifier: Apache-2.0
"""What carries frames from one kernel interface to another, as a device under test does."""

from __future__ import annotations

import threading


class Between(threading.Thread):
    """Has what enters `source` until it is left; what becomes of the frames, subclasses say."""

    def __init__(self, namespace, source="b", target="c"):
        super().__init__(daemon=True)
        self.source, self.target = namespace.socket(source, 0.1), namespace.socket(target)
        self.ending = threading.Event()

    def frames(self):
        """Yield each frame that comes."""
        while not self.ending.is_set():
            try:
                yield self.source.recv(65536)
            except TimeoutError:
                continue

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        self.join()
