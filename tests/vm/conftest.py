# SPDX-License-Identifier: Apache-2.0
"""Guests that the tests share: one boot a kernel for the whole run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.lanes import divided
from tests.support.tiers import by_tier
from tests.vm import topologies
from tests.vm.guest import MODELS, Guest
from tests.vm.kernel import KERNELS, NO_IOMMUFD, Missing, recent_kernel
from tests.vm.network import interface

GUESTS: list[Guest] = []  # that may run
DRIVERS = {"igb", "virtio_net"}  # of the kernel, which do zero copy
ZERO_COPY = [name for name, model in MODELS.items() if model.kernel_module in DRIVERS]
NO_ANSWER = "the guest does not answer"
EACH_ONCE = by_tier(normal=True, full=True, everything=False)
EVERY_KERNEL = by_tier(normal=False, full=False, everything=True)


def pytest_generate_tests(metafunc):
    """A test runs on the first kernel that is there; in tier `all`, on each. One marked `once`
    runs on the first of those it names that is there, unless everything is wanted; in the normal
    tier, one kernel boots for all that can run on it.
    """
    if "guest" not in metafunc.fixturenames:
        return
    kernels, marker = list(KERNELS), metafunc.definition.get_closest_marker("once")
    if marker or EACH_ONCE:
        named = marker.args if marker else kernels
        kernels = by_tier([name for name in kernels if name in named], list(named))
        there = [name for name in kernels if is_there(name)]
        kernels = there if EVERY_KERNEL and there else [*there, *kernels][:1]
    metafunc.parametrize("guest", kernels, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """What runs in one guest comes together, so that it boots once; guests come last, or first when
    another process runs the rest meanwhile. A test that fails in a guest that doesn't answer or has
    a processor that stalls (an emulated machine can, on a busy host) is run again in a new one; not
    that of a guest that has ended, as a kernel that panics does.
    """
    order = list(KERNELS)
    others = len(order) + 2 if divided(config) else -1

    def place(item):
        if "bare_guest" in item.fixturenames:
            return len(order)
        if "recent_guest" in item.fixturenames:
            return len(order) + 1
        if "guest" in item.fixturenames:
            return order.index(item.callspec.params["guest"])
        return others

    items.sort(key=place)
    for item in items:
        if place(item) != others:
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=NO_ANSWER))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call):
    """A failure in a guest that stalls is this guest's, whatever the test has noticed of it."""
    stalled = [guest for guest in GUESTS if guest.qemu.poll() is None and guest.stalls()]
    if stalled and call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception):
        for guest in stalled:
            guest.lost = NO_ANSWER
        error = TimeoutError(f"{NO_ANSWER}: a processor stalls. Seen: {call.excinfo.exconly()}")
        error.__traceback__ = call.excinfo.tb
        call.excinfo = pytest.ExceptionInfo.from_exception(error)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem):
    """No guest takes time from the tests of other folders, where those come next."""
    if nextitem is None or nextitem.path.parent != Path(__file__).parent:
        for guest in GUESTS:
            guest.close()


def is_there(kernel):
    try:
        KERNELS[kernel]()
    except Missing:
        return False
    return True


@contextmanager
def booted(kernel, **how):
    """A guest in a folder of its own, whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="uspnet-vm-"))
    folder.chmod(0o711)  # users in the guest find the shared folder in it
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, folder)
        try:
            guest = Guest({**KERNELS, "recent": recent_kernel}[kernel](), folder, **how)
        except Missing as missing:
            pytest.skip(str(missing))
        undo.callback(guest.close)
        GUESTS.append(guest)
        guest.kernel_name = kernel
        yield guest


@pytest.fixture(scope="session")
def guest(request):
    """A guest with an IOMMU. Debian's kernel has VFIO groups only; `lab` has all interfaces."""
    with booted(request.param) as guest:
        yield guest


@pytest.fixture(params=["vfio-group", "vfio-cdev"])
def transport(request, guest):
    """Each way of VFIO to a function."""
    if request.param == "vfio-cdev" and guest.kernel_name == "debian":
        pytest.skip(f"{NO_IOMMUFD}: Debian's has none")
    return request.param


@pytest.fixture(scope="session")
def bare_guest():
    """A guest without an IOMMU, with huge pages."""
    with booted("lab" if is_there("lab") else "debian", iommu=False, huge_pages=32) as guest:
        yield guest


@pytest.fixture(scope="session")
def recent_guest():
    """A guest with the NICs whose drivers do AF_XDP's zero copy, in its kernel."""
    with booted("recent", iommu=False, kinds=ZERO_COPY) as guest:
        yield guest


@pytest.fixture(autouse=True)
def _that_answers(request):
    """Each test begins with a guest that answers, whatever became of it in the one before."""
    for name in {"guest", "bare_guest", "recent_guest"} & set(request.fixturenames):
        request.getfixturevalue(name).revive()


@pytest.fixture
def taken():
    """taken(guest, address, driver) gives a function to a kernel driver, until the test is over. So
    are then the processes that were started meanwhile.
    """
    with contextlib.ExitStack() as undo:  # each of them, also when one of them fails

        def give_back(guest, address, before, processes):
            if guest.lost:
                return
            end_others(guest, processes)
            guest.give(address, "")
            assert guest.driver(address) == before

        def take(guest, address, driver="vfio-pci"):
            processes = set(guest.processes)
            undo.callback(give_back, guest, address, guest.driver(address), processes)
            guest.give(address, driver)
            return address

        yield take


def end_others(guest, processes):
    """End what runs in the guest, but for these processes."""
    for process in set(guest.processes) - processes:
        with contextlib.suppress(OSError):
            process.end()


def restore(guest, address, driver):
    """A function is its kernel driver's again, wherever a test that failed has left it."""
    if address not in guest.names("/sys/bus/pci/devices"):
        guest.write("/sys/bus/pci/rescan", "1")
    if guest.driver(address) != driver:
        guest.run(["uspnet", "unbind", "--all"])
    if guest.driver(address) != driver:
        guest.give(address, "")


@pytest.fixture
def nic(guest):
    """build(topology, kind): its PCI address. Afterwards nothing of that is left."""
    done = []

    def build(topology, kind):
        if kind not in guest.kinds:
            pytest.skip(f"this QEMU is too old: it has no {kind}")
        address = guest.address(kind)
        name = interface(guest, address)
        done.append((address, name, guest.driver(address)))
        guest.environment = topology(guest, name) or {}
        return address

    before = set(guest.processes)
    yield build
    if guest.lost:
        return
    end_others(guest, before)
    guest.environment = {}
    for address, name, driver in done:
        restore(guest, address, driver)
        at = f"/sys/bus/pci/devices/{address}/sriov_numvfs"
        if "sriov_numvfs" in guest.names(at.rpartition("/")[0]) and guest.read(at) != "0\n":
            guest.write(at, "0")
        topologies.undo(guest, name, interface(guest, address))
