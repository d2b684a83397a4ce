# SPDX-License-Identifier: Apache-2.0
"""Every write to sysfs fails in turn: the state is then the old or the new one, or it is said."""

import errno
import json

import pytest

from uspnet.binding import rebind
from uspnet.binding.bind import BindRequest, bind, plan
from uspnet.binding.unbind import keep, unbind
from uspnet.errors import (
    Busy,
    DeviceFault,
    LeftUnbound,
    Malformed,
    NoDevice,
    Refused,
    UspnetError,
)

A = "0000:03:00.0"
B = "0000:03:00.1"
STEPS = 3  # writes of a bind that succeeds


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rebind, "PROBE_S", 0.05)


def state_of(lab, address=A):
    device = lab.kernel.device(address)
    override = (device / "driver_override").read_text().strip()
    return lab.kernel.driver(address), override


def test_bind_and_unbind_write_what_the_plan_says(lab):
    lab.nic(A, "eth0")
    (found,) = plan(lab.machine(), ["03:00.0"], BindRequest())
    assert len(found.steps()) == 5
    assert lab.kernel.log == []
    bind(lab.machine(), ["eth0"], BindRequest())
    assert state_of(lab) == ("vfio-pci", "vfio-pci")
    assert lab.kernel.log == [
        (f"sys/bus/pci/devices/{A}/driver_override", "vfio-pci"),
        (f"sys/bus/pci/devices/{A}/driver/unbind", A),
        ("sys/bus/pci/drivers_probe", A),
    ]
    (outcome,) = unbind(lab.machine(), [A])
    assert state_of(lab) == ("igb", "(null)")
    assert outcome.text == "bound to igb as eth0"
    assert lab.network.applied == [{"eth0": "eth0"}]
    assert lab.machine().store.addresses() == []


@pytest.mark.parametrize("step", range(STEPS))
def test_one_failing_write_is_rolled_back(lab, step):
    lab.nic(A, "eth0")
    before = state_of(lab)
    lab.kernel.fail = lambda now: now == step
    with pytest.raises(DeviceFault, match=f"rolled back: {A} as before") as failed:
        bind(lab.machine(), [A], BindRequest())
    assert failed.value.exit_code == 1
    assert state_of(lab) == before
    assert lab.machine().store.addresses() == []
    assert bool(lab.network.applied) == (step == 2)  # only then was the interface gone


@pytest.mark.parametrize("step", range(STEPS))
def test_when_rolling_back_fails_too_it_is_said_loudly(lab, step):
    lab.nic(A, "eth0")
    before = state_of(lab)
    lab.kernel.fail = lambda now: now >= step
    with pytest.raises(DeviceFault) as failed:
        bind(lab.machine(), [A], BindRequest())
    if step == 0:  # nothing had changed, so there was nothing to roll back
        assert state_of(lab) == before
        assert "rolled back" in failed.value.message
        return
    assert isinstance(failed.value, LeftUnbound)
    assert failed.value.exit_code == 1
    driver, override = state_of(lab)
    if driver is None:
        assert "LEFT UNBOUND" in failed.value.message
    else:
        assert f"driver_override '{override}'" in failed.value.message
    lab.kernel.fail = lambda _: False
    unbind(lab.machine(), [A])  # the saved state is still there
    assert state_of(lab) == before


@pytest.mark.parametrize("step", range(6))
def test_two_failing_writes(lab, step):
    """The second one hits the rolling back, wherever it is."""
    lab.nic(A, "eth0")
    before = state_of(lab)
    lab.kernel.fail = lambda now: now in {2, 3 + step}
    with pytest.raises(DeviceFault) as failed:
        bind(lab.machine(), [A], BindRequest())
    if state_of(lab) == before:
        assert "rolled back" in failed.value.message
    else:
        assert isinstance(failed.value, LeftUnbound)
        assert "LEFT" in failed.value.message.upper()


@pytest.mark.parametrize("step", range(STEPS))
def test_unbind_with_a_failing_write_says_so_and_can_be_repeated(lab, step):
    lab.nic(A, "eth0")
    bind(lab.machine(), [A], BindRequest())
    start = len(lab.kernel.log)
    lab.kernel.fail = lambda now: now == start + step
    if step == 2:  # the driver's own bind file is the second way
        unbind(lab.machine(), [A])
    else:
        with pytest.raises(LeftUnbound, match="LEFT"):
            unbind(lab.machine(), [A])
        assert state_of(lab) != ("igb", "(null)")
    lab.kernel.fail = lambda _: False
    unbind(lab.machine(), [A])
    assert state_of(lab) == ("igb", "(null)")


@pytest.mark.parametrize("step", range(STEPS))
def test_a_device_that_vanishes_half_way(lab, step):
    lab.nic(A, "eth0")
    lab.kernel.vanish_at = step
    with pytest.raises(NoDevice, match="was removed meanwhile"):
        bind(lab.machine(), [A], BindRequest())
    assert lab.machine().store.addresses() == []


def test_all_or_none(lab):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1")
    lab.kernel.fail = lambda now: now == 5  # the second function's probe
    with pytest.raises(DeviceFault, match="rolled back"):
        bind(lab.machine(), [A, B], BindRequest())
    assert [state_of(lab, name) for name in (A, B)] == [("igb", "(null)")] * 2
    assert len(lab.network.applied) == 2


def test_a_driver_that_does_not_take_it(lab):
    lab.nic(A, "eth0")
    lab.kernel.probe = lambda _: None
    lab.kernel.match = lambda _: "igb"
    with pytest.raises(DeviceFault, match="vfio-pci did not bind to"):
        bind(lab.machine(), [A], BindRequest())
    assert state_of(lab) == ("igb", "(null)")


def test_an_override_of_somebody_else_comes_back(lab):
    lab.nic(A, "eth0")
    (lab.kernel.device(A) / "driver_override").write_text("igb\n")
    bind(lab.machine(), [A], BindRequest())
    unbind(lab.machine(), [A])
    assert state_of(lab) == ("igb", "igb")


def test_a_function_without_driver_stays_without(lab):
    lab.nic(A, driver=None)
    bind(lab.machine(), [A], BindRequest())
    unbind(lab.machine(), [A])
    assert state_of(lab) == (None, "(null)")


def test_a_renamed_interface_is_told_apart(lab):
    lab.nic(A, "lan0", "lan1")
    lab.kernel.rename = lambda name: f"eth{name[-1]}"
    bind(lab.machine(), [A], BindRequest())
    unbind(lab.machine(), [A])
    assert lab.network.applied == [{"lan0": "eth0", "lan1": "eth1"}]


def test_configuration_that_does_not_come_back_is_said_and_kept(lab):
    lab.nic(A, "eth0")
    bind(lab.machine(), [A], BindRequest())
    lab.network.problems = ["route to default: Network is unreachable"]
    with pytest.raises(DeviceFault, match="Network is unreachable"):
        unbind(lab.machine(), [A])
    lab.network.problems = []
    unbind(lab.machine(), [A])
    assert lab.machine().store.addresses() == []


def test_binding_twice_changes_nothing(lab):
    lab.nic(A, "eth0")
    bind(lab.machine(), [A], BindRequest())
    writes = len(lab.kernel.log)
    (found,) = bind(lab.machine(), [A], BindRequest())
    assert found.already
    assert len(lab.kernel.log) == writes
    assert lab.machine().store.load(A).driver == "igb"


def test_a_crash_half_way_is_mended_by_unbind_and_by_bind(lab):
    lab.nic(A, "eth0")
    lab.kernel.fail = lambda now: now >= 2
    with pytest.raises(LeftUnbound):
        bind(lab.machine(), [A], BindRequest())
    lab.kernel.fail = lambda _: False
    bind(lab.machine(), [A], BindRequest())
    saved = lab.machine().store.load(A)
    assert (saved.driver, saved.network["own"]) == ("igb", ["eth0"])


def test_bound_by_another_tool(lab):
    lab.nic(A, driver="vfio-pci")
    lab.kernel.natural[A] = "igb"
    with pytest.raises(Refused, match="was not bound by uspnet"):
        unbind(lab.machine(), [A])
    (outcome,) = unbind(lab.machine(), [A], allow=frozenset({"unsaved"}))
    assert outcome.driver == "igb"


def test_a_damaged_state_is_named(lab):
    lab.nic(A, "eth0")
    bind(lab.machine(), [A], BindRequest())
    lab.file(f"var/lib/uspnet/{A}.json", "{")
    with pytest.raises(Malformed, match="damaged"):
        unbind(lab.machine(), [A])
    unbind(lab.machine(), [A], allow=frozenset({"unsaved"}))
    assert state_of(lab) == ("igb", "(null)")


def test_a_device_in_use_is_not_unbound(lab):
    lab.nic(A, "eth0")
    bind(lab.machine(), [A], BindRequest())
    lab.process(77, "pktgen", "/dev/vfio/17")
    with pytest.raises(Busy, match=r"pktgen \(process 77\)"):
        unbind(lab.machine(), [A])
    assert state_of(lab)[0] == "vfio-pci"


def test_after_a_reboot(lab):
    """The kernel has taken it back by itself, or driverctl has bound it again."""
    lab.nic(A, "eth0")
    bind(lab.machine(), [A], BindRequest())
    lab.file("proc/sys/kernel/random/boot_id", "boot-2")
    (outcome,) = unbind(lab.machine(), ["03:00.0"])
    assert outcome.driver == "igb"
    bind(lab.machine(), [A], BindRequest())
    lab.file("proc/sys/kernel/random/boot_id", "boot-3")
    lab.kernel.detach(A)
    (lab.kernel.device(A) / "driver_override").write_text("(null)\n")
    lab.kernel.probe(A)
    (outcome,) = unbind(lab.machine(), [], everything=True)
    assert outcome.text == "a reboot has already given it back"


def test_the_state_is_on_disk_before_anything_is_touched(lab):
    lab.nic(A, "eth0")
    seen = []

    def look(step):
        path = lab.root / f"var/lib/uspnet/{A}.json"
        seen.append(json.loads(path.read_text())["driver"])
        return False

    lab.kernel.fail = look
    bind(lab.machine(), [A], BindRequest())
    assert seen == ["igb"] * STEPS
    assert (lab.root / "var/lib/uspnet").stat().st_mode & 0o777 == 0o700
    assert (lab.root / f"var/lib/uspnet/{A}.json").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_touches_nothing(lab, monkeypatch):
    lab.nic(A, "eth0")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("uspnet.binding.saved.os.fsync", full)
    with pytest.raises(UspnetError, match=r"No space.*; nothing was changed"):
        bind(lab.machine(), [A], BindRequest())
    assert lab.kernel.log == []


def test_keep_needs_something_to_keep(lab):
    lab.nic(A, "eth0")
    with pytest.raises(NoDevice):
        keep(lab.machine(), [A])
