# SPDX-License-Identifier: Apache-2.0
"""A bind that fails, or was killed, where an earlier one has left its mark: nothing that is needed
to give the NIC back is lost.
"""

import pytest

from uspnet.binding import rebind
from uspnet.binding.bind import BindRequest, bind
from uspnet.binding.unbind import unbind
from uspnet.errors import DeviceFault, LeftUnbound, NotSupported

A = "0000:03:00.0"
B = "0000:03:00.1"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rebind, "PROBE_S", 0.05)


def state_of(lab, address=A):
    override = (lab.kernel.device(address) / "driver_override").read_text().strip()
    return lab.kernel.driver(address), override


def refuse(lab, monkeypatch, address):
    """Has a driver refuse to bind to this function."""
    attach = lab.kernel.attach

    def pick(now, name, **more):
        if (now, name) != (address, "uio_pci_generic"):
            attach(now, name, **more)

    monkeypatch.setattr(lab.kernel, "attach", pick)


@pytest.mark.parametrize("order", [(A, B), (B, A)], ids=["touched", "untouched"])
def test_a_failed_bind_keeps_what_an_earlier_one_saved(lab, monkeypatch, order):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1", group="18")
    bind(lab.machine(), [A], BindRequest(persist=True))
    saved = lab.machine().store.load(A)
    refuse(lab, monkeypatch, B)
    with pytest.raises(DeviceFault, match=r"rolled back: .* as before"):
        bind(lab.machine(), order, BindRequest(driver="uio_pci_generic", persist=True))
    assert state_of(lab) == ("vfio-pci", "vfio-pci")
    assert state_of(lab, B) == ("igb", "(null)")
    assert lab.machine().store.load(A) == saved
    assert lab.machine().store.addresses() == [A]
    assert (lab.root / f"etc/driverctl.d/pci-{A}").read_text() == "vfio-pci\n"
    assert unbind(lab.machine(), [A])[0].text == "bound to igb as eth0"
    assert not (lab.root / f"etc/driverctl.d/pci-{A}").exists()


@pytest.mark.parametrize("order", [(A, B), (B, A)], ids=["touched", "untouched"])
def test_a_failed_bind_of_one_that_was_left_unbound(lab, monkeypatch, order):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1", group="18")
    lab.kernel.fail = lambda step: step > 1
    with pytest.raises(LeftUnbound):
        bind(lab.machine(), [A], BindRequest())
    lab.kernel.fail = lambda _: False
    saved = lab.machine().store.load(A)
    refuse(lab, monkeypatch, B)
    with pytest.raises(DeviceFault, match="rolled back") as raised:
        bind(lab.machine(), order, BindRequest(driver="uio_pci_generic"))
    given = f"{A} given back to igb" in str(raised.value)
    assert given == (order[0] == A)
    assert state_of(lab)[0] == ("igb" if given else None)
    assert lab.machine().store.load(A) == (None if given else saved)
    unbind(lab.machine(), [A])
    assert state_of(lab) == ("igb", "(null)")


def test_a_state_that_could_not_be_read_again_is_refused_in_time(lab, monkeypatch):
    lab.nic(A, "eth0")
    lab.nic(B, *(f"with-a-long-name{number}" for number in range(40)))
    monkeypatch.setattr("uspnet.binding.saved.BYTES_MAX", 2000)
    with pytest.raises(NotSupported, match=f"configuration of {B} takes.*; nothing was changed"):
        bind(lab.machine(), [A, B], BindRequest())
    assert lab.kernel.log == []
    assert lab.machine().store.addresses() == []


def test_an_override_that_named_the_other_driver_already(lab):
    lab.nic(A, "eth0")
    lab.tree.write(f"sys/bus/pci/devices/{A}/driver_override", "vfio-pci")
    bind(lab.machine(), [A], BindRequest())
    unbind(lab.machine(), [A])
    assert state_of(lab) == ("igb", "vfio-pci")
    assert lab.machine().store.addresses() == []


@pytest.mark.parametrize("again", ["bound", "failed"])
def test_bound_again_after_a_bind_that_was_killed_at_its_first_step(lab, monkeypatch, again):
    lab.nic(A, "eth0")
    bind(lab.machine(), [A], BindRequest())
    saved = lab.machine().store.load(A)
    unbind(lab.machine(), [A])
    lab.machine().store.put(saved)
    lab.tree.write(f"sys/bus/pci/devices/{A}/driver_override", "vfio-pci")
    if again == "failed":
        refuse(lab, monkeypatch, A)
        with pytest.raises(DeviceFault, match=f"rolled back: {A} given back to igb"):
            bind(lab.machine(), [A], BindRequest(driver="uio_pci_generic"))
    else:
        bind(lab.machine(), [A], BindRequest())
        unbind(lab.machine(), [A])
    assert state_of(lab) == ("igb", "(null)")
    assert lab.machine().store.addresses() == []
