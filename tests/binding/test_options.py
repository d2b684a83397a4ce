# SPDX-License-Identifier: Apache-2.0
"""bind's options, the driver that it chooses, and what it won't bind at all."""

import os
import pwd

import pytest

from uspnet.binding.bind import BindRequest, bind
from uspnet.binding.inventory import inventory
from uspnet.binding.unbind import unbind
from uspnet.errors import NoDevice, NotSupported, Refused, Usage
from uspnet.jobs.doctor_nic import nic_rows

A = "0000:03:00.0"
B = "0000:03:00.1"
# Only root can give a file to somebody else.
OWNER = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def state_of(lab):
    override = (lab.kernel.device(A) / "driver_override").read_text().strip()
    return lab.kernel.driver(A), override


def test_persist_is_driverctls_file_and_is_taken_back(lab):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1", group="18")
    lab.file(f"etc/driverctl.d/pci-{B}", "igb")
    bind(lab.machine(), [A, B], BindRequest(persist=True))
    for address in (A, B):
        assert (lab.root / f"etc/driverctl.d/pci-{address}").read_text() == "vfio-pci\n"
    unbind(lab.machine(), [A, B])
    assert os.listdir(lab.root / "etc/driverctl.d") == [f"pci-{B}"]
    assert (lab.root / f"etc/driverctl.d/pci-{B}").read_text() == "igb\n"


def test_the_owner_gets_the_nodes(lab):
    lab.nic(A, "eth0")
    lab.file("dev/vfio/17", "")
    bind(lab.machine(), [A], BindRequest(owner=OWNER.pw_name))
    assert (lab.root / "dev/vfio/17").stat().st_uid == OWNER.pw_uid


@pytest.mark.parametrize("cdev", [True, False])
def test_the_owner_gets_the_character_device_where_the_kernel_has_it(lab, monkeypatch, cdev):
    """Kernels without them have the folder in sysfs all the same."""
    monkeypatch.setattr("uspnet.binding.owner.NODE_S", 0.05)
    lab.nic(A, "eth0")
    lab.file("dev/vfio/17", "")
    folder = lab.kernel.device(A) / "vfio-dev/vfio3"
    folder.mkdir(parents=True)
    if cdev:
        (folder / "dev").write_text("511:3")
        with pytest.raises(NotSupported, match="there is no /dev/vfio/devices/vfio3"):
            bind(lab.machine(), [A], BindRequest(owner=OWNER.pw_name))
        lab.file("dev/vfio/devices/vfio3", "")
    bind(lab.machine(), [A], BindRequest(owner=OWNER.pw_name))
    assert not cdev or (lab.root / "dev/vfio/devices/vfio3").stat().st_uid == OWNER.pw_uid


def test_no_node_for_the_owner_is_rolled_back(lab, monkeypatch):
    monkeypatch.setattr("uspnet.binding.owner.NODE_S", 0.05)
    lab.nic(A, "eth0")
    with pytest.raises(NotSupported, match="rolled back"):
        bind(lab.machine(), [A], BindRequest(owner=OWNER.pw_name, persist=True))
    assert state_of(lab) == ("igb", "(null)")


def test_without_iommu_there_is_no_owner(lab):
    lab.nic(A, "eth0", group=None)
    lab.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y")
    with pytest.raises(NotSupported, match="only root"):
        bind(lab.machine(), [A], BindRequest(owner=OWNER.pw_name))
    assert lab.kernel.log == []


def test_missing_module_is_loaded(lab):
    lab.nic(A, "eth0")
    os.rename(lab.root / "sys/bus/pci/drivers/vfio-pci", lab.root / "gone")
    bind(lab.machine(), [A], BindRequest())
    assert lab.loaded == ["vfio-pci"]


def test_missing_modprobe_is_said(lab):
    lab.nic(A, "eth0")
    os.rename(lab.root / "sys/bus/pci/drivers/vfio-pci", lab.root / "gone")
    machine = lab.machine()
    with pytest.raises(NotSupported, match="no modprobe"):
        bind(machine.__class__(lab.tree, lab.network), [A], BindRequest())
    assert lab.kernel.log == []


def test_without_iommu_vfio_is_no_choice(lab):
    lab.nic(A, "eth0", group=None)
    with pytest.raises(NotSupported, match="no IOMMU group"):
        bind(lab.machine(), [A], BindRequest())
    bind(lab.machine(), [A], BindRequest(driver="uio_pci_generic"))
    assert state_of(lab) == ("uio_pci_generic", "uio_pci_generic")


@pytest.mark.parametrize(
    ("text", "kind"),
    [("0000:99:00.0", NoDevice), ("nonsense", NoDevice), ("../x", NoDevice), ("veth0", Usage)],
)
def test_what_is_no_nic(lab, text, kind):
    lab.nic(A, "eth0")
    (lab.root / "sys/class/net/veth0").mkdir()
    with pytest.raises(kind) as error:
        bind(lab.machine(), [text], BindRequest())
    assert error.value.hint
    if text == "veth0":
        assert "packet:veth0" in error.value.hint
        assert "xdp:veth0" in error.value.hint


def test_a_disk_is_refused(lab):
    lab.nic(A, driver="nvme", code=0x010802)
    with pytest.raises(Refused, match="not a network card"):
        bind(lab.machine(), [A], BindRequest(allow=frozenset({"group"})))


def test_what_is_no_network_card_is_neither_shown_nor_given_back_nor_examined(lab):
    lab.nic(A, driver="nvme", code=0x010802)
    machine = lab.machine()
    assert inventory(machine) == []
    for ask in (
        lambda: inventory(machine, [A]),
        lambda: unbind(machine, [A], allow=frozenset({"unsaved"})),
        lambda: list(nic_rows(machine, A)),
    ):
        with pytest.raises(Refused, match="not a network card"):
            ask()
    assert lab.kernel.log == []


@pytest.mark.parametrize("name", ["everything", "all", "force"])
def test_there_is_no_wholesale_override(lab, name):
    lab.nic(A, "eth0")
    with pytest.raises(Usage, match="no such reason"):
        bind(lab.machine(), [A], BindRequest(allow=frozenset({name})))
