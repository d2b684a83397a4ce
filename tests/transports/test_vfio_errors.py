# SPDX-License-Identifier: Apache-2.0
"""VFIO where the kernel says no half-way: nothing stays open."""

import os

import pytest

from uspnet.transports import vfio, vfio_cdev


def open_files():
    return sorted(os.listdir("/proc/self/fd"))


class Opened(vfio.Vfio):
    """A function after it was opened, with a kernel that has eight vectors for it."""

    def __init__(self):
        self.events, self.events_on = [], 0

    def open(self):
        raise NotImplementedError

    def leave(self):
        raise NotImplementedError


@pytest.mark.parametrize("kind", ["MSI-X", "INTx"])
def test_without_descriptors_there_are_no_interrupts(monkeypatch, kind):
    made, left = os.eventfd, [2 if kind == "MSI-X" else 1]

    def eventfd(*how):
        if not left[0]:
            raise OSError(24, "Too many open files")
        left[0] -= 1
        return made(*how)

    monkeypatch.setattr("os.eventfd", eventfd)
    monkeypatch.setattr(vfio, "call", lambda *_: (0, 0, 8 if kind == "MSI-X" else 1))
    before = open_files()
    function = Opened()
    assert function.irq(kind, 4) == []
    assert (function.events, function.line_fd) == ([], -1)
    assert open_files() == before


def test_an_address_space_that_cannot_be_had_stays_closed(monkeypatch, tmp_path):
    node = tmp_path / "iommu"  # a file that knows no such ioctl
    node.touch()
    monkeypatch.setattr(vfio_cdev, "IOMMU", str(node))
    before = open_files()
    with pytest.raises(OSError, match="ioctl"):
        vfio_cdev.Ioas.join("test")
    assert open_files() == before
    assert "test" not in vfio.DmaSpace._shared
