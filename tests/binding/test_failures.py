# SPDX-License-Identifier: Apache-2.0
"""Everything that is written can fail, one by one or from some point on: afterwards each function
is in its old state or in the new one, or the error says by name where it was left.
"""

import errno
import os

import pytest

from uspnet.binding import persist, rebind
from uspnet.binding.bind import BindRequest, bind
from uspnet.binding.unbind import unbind
from uspnet.errors import UspnetError

A = "0000:03:00.0"
B = "0000:03:00.1"
OLD, NEW = ("igb", "(null)"), ("vfio-pci", "vfio-pci")
BIND_WRITES, UNBIND_WRITES = 6, 6  # for two functions
UNSAVED = frozenset({"unsaved"})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rebind, "PROBE_S", 0.01)


@pytest.fixture
def pair(lab):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1")
    return lab


def state_of(lab, address):
    override = (lab.kernel.device(address) / "driver_override").read_text().strip()
    return lab.kernel.driver(address), override


def outcome(lab, action):
    """Does it. Returns what was raised, and both states."""
    error = None
    try:
        action()
    except (UspnetError, OSError) as raised:
        error = raised
    return error, {address: state_of(lab, address) for address in (A, B)}


def said(error, states, fine):
    """Is each function in a state that is fine, or named by the error together with its state?"""
    for address, (driver, override) in states.items():
        if (driver, override) in fine:
            continue
        assert error, states
        line = next(part for part in error.message.split(";") if f"{address} is " in part)
        assert (
            f"LEFT WITH {driver}" in line or (driver is None and "LEFT UNBOUND" in line)
            or f"left with driver_override {override!r}" in line
        ), (states, error.message)  # fmt: skip
        assert error.exit_code == 1
        assert address in error.hint or "try again" in error.hint


def test_as_many_writes_as_are_made_to_fail_here(pair):
    bind(pair.machine(), [A, B], BindRequest())
    assert len(pair.kernel.log) == BIND_WRITES
    unbind(pair.machine(), [A, B])
    assert len(pair.kernel.log) == BIND_WRITES + UNBIND_WRITES


@pytest.mark.parametrize("first", range(BIND_WRITES))
@pytest.mark.parametrize("lasting", [0, 1, 2, 3, 4, 5, 6, 100])
def test_bind(pair, first, lasting):
    """Writes `first` to `first + lasting` fail: with 0 one does, and rolling back works."""
    pair.kernel.fail = lambda step: first <= step <= first + lasting
    error, states = outcome(pair, lambda: bind(pair.machine(), [A, B], BindRequest()))
    assert error
    said(error, states, {OLD})
    if lasting == 0:
        assert set(states.values()) == {OLD}
        assert "as before" in error.message
    pair.kernel.fail = lambda _: False
    unbind(pair.machine(), [], everything=True)
    assert {state_of(pair, address) for address in (A, B)} == {OLD}


@pytest.mark.parametrize("allow", [frozenset(), UNSAVED], ids=["saved", "unsaved"])
@pytest.mark.parametrize("first", range(UNBIND_WRITES))
@pytest.mark.parametrize("lasting", [0, 1, 2, 3, 4, 100])
def test_unbind(pair, allow, first, lasting):
    bind(pair.machine(), [A, B], BindRequest())
    start = len(pair.kernel.log) + first
    pair.kernel.fail = lambda step: start <= step <= start + lasting
    act = lambda: unbind(pair.machine(), [A, B], allow=allow)  # noqa: E731
    error, states = outcome(pair, act)
    said(error, states, {OLD, NEW} if error else {OLD})
    pair.kernel.fail = lambda _: False
    unbind(pair.machine(), [A, B], allow=allow)
    assert {state_of(pair, address) for address in (A, B)} == {OLD}


@pytest.mark.parametrize("number", range(12))
def test_a_disk_that_fills_up(pair, monkeypatch, number):
    """The saved states can't be written any more, from some moment on."""
    left, fsync = [number], os.fsync

    def full(fd):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(fd)

    monkeypatch.setattr("uspnet.binding.saved.os.fsync", full)
    error, states = outcome(pair, lambda: bind(pair.machine(), [A, B], BindRequest(persist=True)))
    said(error, states, {OLD} if error else {NEW})


@pytest.mark.parametrize("where", ["chown", "persist"])
def test_no_owner_and_no_lasting_binding_after_a_failure(pair, monkeypatch, where):
    pair.file("dev/vfio/17", "")

    def fail(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(*((os, "chown") if where == "chown" else (persist, "_put")), fail)
    request = BindRequest(owner="nobody" if where == "chown" else None, persist=where == "persist")
    error, states = outcome(pair, lambda: bind(pair.machine(), [A, B], request))
    assert "Read-only" in str(error)
    assert set(states.values()) == {OLD}
    assert not (pair.root / f"etc/driverctl.d/pci-{A}").exists()
