# SPDX-License-Identifier: Apache-2.0
"""Guests that the tests share: one boot a kernel for the whole run."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.vm.guest import Guest
from tests.vm.kernel import KERNELS, Missing


@contextmanager
def booted(kernel, **how):
    """A guest in a folder of its own, whose path is short enough for sockets."""
    if not os.environ.get("USPNET_VM"):
        pytest.skip("tests in a guest run only with USPNET_VM=1: they take minutes")
    folder = Path(tempfile.mkdtemp(prefix="uspnet-vm-"))
    try:
        guest = Guest(KERNELS[kernel](), folder, **how)
    except Missing as missing:
        shutil.rmtree(folder)
        pytest.skip(str(missing))
    try:
        yield guest
    finally:
        guest.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="session", params=["lab", "debian"])
def guest(request):
    """A guest with an IOMMU. Debian's kernel has VFIO groups only; `lab` has all interfaces."""
    with booted(request.param) as guest:
        guest.kernel_name = request.param
        yield guest


@pytest.fixture(scope="session")
def bare_guest():
    """A guest without an IOMMU, with huge pages."""
    with booted("lab", iommu=False) as guest:
        guest.write("/proc/sys/vm/nr_hugepages", "32")
        yield guest


@pytest.fixture
def taken():
    """taken(guest, address, driver) gives a function to a kernel driver, until the test is over."""
    undo = []

    def take(guest, address, driver="vfio-pci"):
        before = guest.driver(address)
        undo.append((guest, address, before))
        guest.give(address, driver)
        return address

    yield take
    for guest, address, before in reversed(undo):
        guest.give(address, "")
        assert guest.driver(address) == before
