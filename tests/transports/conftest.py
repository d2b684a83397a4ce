# SPDX-License-Identifier: Apache-2.0
"""A PCI function made of plain files, below a root that stands in for this machine's."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.processes import opened
from uspnet.pci.sysfs import HOST

BAR_BYTES = 4096


class Slot:
    """The function's folder in sysfs, and its nodes in /dev: plain files, which know no ioctl."""

    address = "0000:03:00.0"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "sys/bus/pci/devices" / self.address
        self.folder.mkdir(parents=True)
        (self.folder / "resource0").write_bytes(bytes(BAR_BYTES))
        self.configure(0x0147)  # I/O, memory, bus mastering, parity errors, SERR#

    def configure(self, command: int) -> None:
        """Writes configuration space, with this Command register."""
        words = (0x8086, 0x10D3, command, 0x0010)
        space = b"".join(word.to_bytes(2, "little") for word in words)
        (self.folder / "config").write_bytes(space.ljust(256, b"\0"))

    @property
    def command(self) -> int:
        """The Command register."""
        return int.from_bytes((self.folder / "config").read_bytes()[4:6], "little")

    def node(self, name: str) -> str:
        """Makes a device node. Returns its path."""
        path = self.root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return str(path)

    def bind(self, driver: str) -> None:
        """Gives the function a driver, a group, and a VFIO character device."""
        (self.folder / "driver").symlink_to(f"/sys/bus/pci/drivers/{driver}")
        (self.folder / "iommu_group").symlink_to("/sys/kernel/iommu_groups/7")
        (self.folder / "vfio-dev/vfio0").mkdir(parents=True)
        (self.folder / "vfio-dev/vfio0/dev").touch()


@pytest.fixture
def slot(tmp_path, monkeypatch):
    monkeypatch.setattr(HOST, "root", str(tmp_path))
    return Slot(tmp_path)


@pytest.fixture
def nothing_stays_open():
    """Fails when the test leaves a descriptor open."""
    before = opened()
    yield
    assert opened() == before


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs
