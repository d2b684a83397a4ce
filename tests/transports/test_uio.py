# SPDX-License-Identifier: Apache-2.0
"""uio on a function made of plain files: what it writes, and what it leaves behind."""

import pytest

from uspnet.errors import Busy, DeviceFault, NotSupported
from uspnet.transports.mapped import FunctionLock
from uspnet.transports.uio import Uio

MEMORY, BUS_MASTER, INTX_DISABLE = 1 << 1, 1 << 2, 1 << 10  # PCI 3.0 §6.2.2
pytestmark = pytest.mark.usefixtures("nothing_stays_open")


@pytest.fixture
def function(slot):
    (slot.folder / "enable").touch()
    made = Uio(slot.address)
    yield made
    made.close()


def test_opening_sets_three_command_bits_and_keeps_the_others(slot, function):
    assert slot.command == 0x0147 & ~BUS_MASTER | MEMORY | INTX_DISABLE
    assert (slot.folder / "enable").read_text() == "1"


def test_closing_ends_bus_mastering_and_takes_the_rest_back(slot, function):
    function.write_config(4, slot.command | BUS_MASTER, 2)
    assert slot.command & BUS_MASTER
    function.close()
    assert slot.command == 0x0147 & ~BUS_MASTER
    assert (slot.folder / "enable").read_text() == "0"
    FunctionLock(slot.address).close()  # nobody has it any more


def test_closing_a_function_that_is_gone(slot, function):
    (slot.folder / "config").write_bytes(b"\xff" * 256)
    function.close()
    assert slot.command == 0xFFFF & ~(BUS_MASTER | INTX_DISABLE)


def test_a_bar_is_its_resource_file(slot, function):
    bar = function.map_bar(0)
    assert function.map_bar(0) is bar
    bar.write(0x10, 0x11223344, 4)
    assert (slot.folder / "resource0").read_bytes()[0x10:0x14].hex() == "44332211"
    assert bar.read(0x10, 2) == 0x3344
    for offset, size in ((bar.size, 4), (-4, 4), (2, 4)):
        with pytest.raises(DeviceFault, match="no register at"):
            bar.read(offset, size)
    with pytest.raises(NotSupported, match="has no BAR 1"):
        function.map_bar(1)


def test_a_reset_is_the_kernels_if_it_has_one(slot, function):
    function.reset()
    assert not (slot.folder / "reset").exists()
    (slot.folder / "reset").touch()
    function.reset()
    assert (slot.folder / "reset").read_text() == "1"


@pytest.mark.parametrize("driver", ["uio_pci_generic", "igb_uio"])
def test_drivers_that_leave_it_alone_are_no_obstacle(slot, driver):
    slot.bind(driver)
    slot.configure(INTX_DISABLE)
    Uio(slot.address).close()
    assert slot.command == INTX_DISABLE
    assert not (slot.folder / "enable").exists()  # it is the driver's


def test_a_kernel_driver_keeps_it(slot):
    slot.bind("e1000e")
    with pytest.raises(Busy, match="belongs to the kernel driver e1000e") as caught:
        Uio(slot.address)
    assert caught.value.hint.endswith(f"uio_pci_generic {slot.address}")
    assert slot.command == 0x0147
    FunctionLock(slot.address).close()
