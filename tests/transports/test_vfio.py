# SPDX-License-Identifier: Apache-2.0
"""VFIO on nodes that are plain files, so that the kernel itself refuses each ioctl: what is said,
and that nothing stays open. tests/vm has the calls that succeed.
"""

import os

import pytest

from uspnet.errors import Busy, DeviceFault, NoDevice, NotSupported
from uspnet.transports.choose import choose
from uspnet.transports.dma_space import DmaSpace
from uspnet.transports.mapped import FunctionLock
from uspnet.transports.vfio_cdev import Ioas, VfioCdev
from uspnet.transports.vfio_group import VfioGroup

NO_IOCTL = os.strerror(25)  # ENOTTY
pytestmark = pytest.mark.usefixtures("nothing_stays_open")


@pytest.fixture(autouse=True)
def nothing_stays_shared(slot):
    slot.bind("vfio-pci")
    yield
    assert DmaSpace._shared == {}
    FunctionLock(slot.address).close()


def refused(transport, slot, kind):
    with pytest.raises(kind) as caught:
        transport(slot.address)
    return caught.value.message


def test_a_group_without_container(slot):
    slot.node("vfio/7")
    assert refused(VfioGroup, slot, NoDevice).endswith(f"/vfio/vfio: {os.strerror(2)}")


def test_a_container_that_knows_no_vfio(slot):
    slot.node("vfio/7")
    slot.node("vfio/vfio")
    assert NO_IOCTL in refused(VfioGroup, slot, DeviceFault)


@pytest.mark.parametrize(
    ("answers", "said"),
    [((1,), "API version 1, not 0"), ((0, 0), "no IOMMU driver of type 3")],
)
def test_a_container_that_is_not_what_we_need(slot, monkeypatch, answers, said):
    """The two answers are the kernel's; a container that gives them is not to be had here."""
    slot.node("vfio/vfio")
    left = list(answers)
    monkeypatch.setattr("fcntl.ioctl", lambda *_: left.pop(0))
    assert said in refused(VfioGroup, slot, NotSupported)
    assert not left


def test_a_function_without_group(slot):
    (slot.folder / "iommu_group").unlink()
    assert "has no IOMMU group" in refused(VfioGroup, slot, NotSupported)


def test_a_function_without_character_device(slot):
    assert "has no VFIO character device" in refused(VfioCdev, slot, NotSupported)


def test_a_character_device_without_iommufd(slot):
    slot.node("vfio/devices/vfio0")
    assert refused(VfioCdev, slot, NoDevice).endswith(f"/dev/iommu: {os.strerror(2)}")


def test_an_iommufd_that_knows_no_ioctl(slot):
    slot.node("vfio/devices/vfio0")
    iommu = slot.node("iommu")
    assert refused(VfioCdev, slot, DeviceFault) == f"{slot.address}: {iommu}: {NO_IOCTL}"


def test_an_address_space_that_cannot_be_had(slot):
    slot.node("iommu")
    with pytest.raises(OSError, match=NO_IOCTL):
        Ioas.join("test")


def test_which_transport_is_chosen_and_why(slot):
    assert choose(slot.address) == ("vfio-group", "the kernel has no VFIO character devices")
    slot.node("vfio/devices/vfio0")
    assert choose(slot.address) == ("vfio-group", "the kernel has no /dev/iommu")
    slot.node("iommu")
    assert choose(slot.address) == ("vfio-cdev", "the kernel has /dev/iommu")
    assert choose(slot.address, "uio") == ("uio", "asked for")
    (slot.folder / "driver").unlink()
    with pytest.raises(Busy, match="not bound to vfio-pci"):
        choose(slot.address)
    (slot.folder / "driver").symlink_to("/sys/bus/pci/drivers/igb")
    with pytest.raises(Busy, match="belongs to the kernel driver igb"):
        choose(slot.address)
    with pytest.raises(NoDevice, match="there is no PCI device"):
        choose("0000:04:00.0")
