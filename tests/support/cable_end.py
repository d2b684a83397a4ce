# SPDX-License-Identifier: Apache-2.0
"""The far end of an emulated NIC's cable, held by a test."""

import socket
import time

import pytest


class FarEnd:
    """The other end of a wire that is a path, held by this program."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"{path}.b")
        self.socket.setblocking(False)
        self.near = f"{path}.a"
        self.got = []

    def take(self):
        while True:
            try:
                self.got.append(self.socket.recv(65536))
            except BlockingIOError:
                return

    def give(self, frame):
        """True when the wire had room."""
        try:
            self.socket.sendto(frame, self.near)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def far(tmp_path):
    end = FarEnd(tmp_path / "wire")
    yield end
    end.socket.close()


def options_text(**more):
    return "".join(f",{name.replace('_', '-')}={value}" for name, value in more.items())


def connected(station, model, tmp_path, **more):
    """A started port on a wire that ends here."""
    made = station(f"qemu:{model},wire={tmp_path}/wire{options_text(**more)}").start()
    return made, made.ports[0]


def fill(made, port, far, frames, window=1 << 30):
    """Sends frames from the far end and returns what the port received. At most `window` of them
    are under way at a time.
    """
    sent, got = 0, []

    def step():
        nonlocal sent
        while sent < min(len(frames), len(got) + window) and far.give(frames[sent]):
            sent += 1
        got.extend(made.take(port))
        return len(got) >= len(frames)

    made.until(step)
    return got


def carry_out(made, port, far, frames):
    """Sends frames from the port and returns what came out at the far end."""
    far.got.clear()
    made.send(port, frames, far.take)
    made.until(lambda: far.take() or len(far.got) >= len(frames))
    return far.got


def starve(far, frames):
    """Gives frames to a port from which nobody takes any, for a second at most. Returns how many
    the wire took.
    """
    sent, end = 0, time.monotonic() + 1
    while sent < len(frames) and time.monotonic() < end:
        sent += far.give(frames[sent])
    return sent


def lost(made, port):
    """Received frames that are in some counter of loss."""
    extra = port.extra_counters()
    return extra["rx_missed_errors"] + extra["rx_errors"] + made.counter(port, "rx", "errors")
