# SPDX-License-Identifier: Apache-2.0
"""Devices that vanish at any one of their accesses: from then on, all ones. Every driver, on QEMU's
model of its device; no NIC is named here.
"""

from __future__ import annotations

import contextlib
from functools import partial

import pytest

from tests.support.harness import Station
from tests.support.tiers import by_tier
from uspnet.errors import DeviceFault, DeviceTimeout, UspnetError
from uspnet.ports import qemu as port_module
from uspnet.ports.qemu import models
from uspnet.transports.qemu.qtest import Qtest, QtestBar

pytestmark = pytest.mark.usefixtures("qemu")
SPECS = sorted(f"qemu:{name}" for name in models())
ROUNDS = by_tier(8, 16, 10_000)  # of one model; there are not more accesses than that
GONE_FOR = 40  # accesses


class Presence:
    """Counts accesses; the device is gone in those from `first` to `last`."""

    def __init__(self, first=1 << 60, last=1 << 60):
        self.first, self.last, self.count = first, last, 0

    def access(self):
        """Count one. Is the device there?"""
        self.count += 1
        return not self.first <= self.count <= self.last


class Bar(QtestBar):
    """A BAR of a device that may be gone."""

    def read(self, offset, size):
        there = self.link.presence.access()
        return super().read(offset, size) if there else 256**size - 1

    def write(self, offset, value, size):
        if self.link.presence.access():
            super().write(offset, value, size)


class Vanishing(Qtest):
    """The NIC of a machine, which may be gone."""

    presence = Presence()

    def __init__(self, name, machine):
        here, type(self).presence = self.presence, Presence()
        super().__init__(name, machine)  # that firmware finds it
        type(self).presence = self.link.presence = here

    def read_config(self, offset, size):
        return super().read_config(offset, size) if self.presence.access() else 256**size - 1

    def write_config(self, offset, value, size):
        if self.presence.access():
            super().write_config(offset, value, size)

    def map_bar(self, number):
        made = super().map_bar(number)
        return Bar(self.link, self.bars[number], made.wire_fd)


@pytest.fixture(params=SPECS)
def life(request, monkeypatch):
    """`life(presence, options, looks)`: opens, starts, looks at, stops and closes a port; returns
    the error that it ended with, if any.
    """
    monkeypatch.setattr(port_module, "Qtest", Vanishing)

    def live(presence, more, looks):
        monkeypatch.setattr(Vanishing, "presence", presence)
        made = None
        try:
            made = Station(f"{request.param},loop=on,rx-ring=64,tx-ring=64{more}")
            port = made.ports[0]
            port.start()
            looks(made, port)
        except UspnetError as error:
            if "this QEMU has no" in error.message:
                pytest.skip(f"this QEMU is too old: {error}")
            return error
        finally:
            if made:
                made.ports[0].stop()
                made.ports[0].extra_counters()
                assert made.held() == 0, "every buffer is back"
                made.undo.close()
        return None

    return live


def look(made, port):
    """As a job looks after its ports."""
    for _ in range(2):
        port._look_at = 0.0  # at the counters, too
        port.control()
        port.up()
        port.link_bps()
    port.extra_counters()
    port.finish()


def moments(life, more):
    """The numbers of accesses at which the device is to vanish: all, or as many as there is time
    for, from the first to the last.
    """
    presence = Presence()
    assert life(presence, more, look) is None
    count = presence.count
    rounds = min(ROUNDS, count)
    return [1 + step * (count - 1) // max(rounds - 1, 1) for step in range(rounds)]


def test_a_device_that_vanishes_at_any_access_is_an_error(life):
    errors = [life(Presence(first), ",outage=0", look) for first in moments(life, ",outage=0")]
    assert any(errors)
    assert all(error.message and error.hint for error in errors if error), errors


def test_a_device_that_stays_away_is_named(life):
    def wait(made, port):
        Vanishing.presence.first = 0
        made.until(lambda: False)

    error = life(Presence(), ",outage=0.2", wait)
    assert isinstance(error, DeviceFault)
    assert "did not come back in 0.2 s" in error.message
    assert "outage=" in error.hint


@pytest.mark.full
def test_a_device_that_vanishes_and_returns_is_started_again(life, make_frames):
    """Gone from any access after the start on, for a while."""
    batch = make_frames(60)

    def looks(made, port, first):
        presence = Vanishing.presence
        presence.first = presence.count + first
        presence.last = presence.first + GONE_FOR
        while presence.count <= presence.last:
            port._look_at = 0.0
            with contextlib.suppress(DeviceFault, DeviceTimeout):
                port.up()
            port.control()
        made.until(port.up)
        assert made.carry(port, port, batch) == batch
        assert made.counter(port, "rx", "interruptions") > 0

    for first in range(1, by_tier(3, 5, 40)):
        assert life(Presence(), "", partial(looks, first=first)) is None


def test_a_device_that_leaves_together_with_the_worker_process_is_waited_for(life, make_frames):
    batch = make_frames(60)

    def looks(made, port):
        presence = Vanishing.presence
        port.quiet()
        presence.first, presence.last = presence.count + 1, presence.count + GONE_FOR
        assert port.revive() == []
        assert made.held() == 0
        port.restart()
        assert not port.up()
        assert port.link_bps() is None
        made.until(port.up)
        assert made.carry(port, port, batch) == batch
        assert made.counter(port, "rx", "interruptions") == 1

    assert life(Presence(), "", looks) is None
    error = life(Presence(), ",outage=0", looks)
    assert isinstance(error, DeviceFault)
