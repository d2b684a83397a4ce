# SPDX-License-Identifier: Apache-2.0
"""Every odd machine of machines.py: refused for its reason, unless that is overridden by name."""

import pytest

from tests.binding.machines import (
    IDS,
    MACHINES,
    PAGE,
    A,
    B,
    active_for_devbind,
    down_with_old_address,
    ibft,
    ipv6_only,
    page,
    shared_group,
    xdp_program,
)
from tests.support import devbind
from uspnet.binding.bind import BindRequest, bind, plan
from uspnet.errors import Refused


@pytest.mark.parametrize(("build", "text", "name", "seen"), MACHINES, ids=IDS)
def test_busy_is_refused_and_idle_is_taken(lab, build, text, name, seen):
    build(lab)
    if build in {ibft, xdp_program, down_with_old_address}:
        lab.kernel.natural[A] = "igb"
    (found,) = plan(lab.machine(), [A], BindRequest())
    blocking = found.blocking(frozenset())
    if name is None:
        assert not blocking
        bind(lab.machine(), [A], BindRequest())
        assert lab.kernel.driver(A) == "vfio-pci"
        return
    assert [r for r in blocking if r.name == name and str(r).startswith(text)], [
        *map(str, blocking)
    ]
    with pytest.raises(Refused) as refused:
        bind(lab.machine(), [A], BindRequest())
    assert text in refused.value.message
    assert name in refused.value.hint
    assert refused.value.exit_code == 3
    assert lab.kernel.log == []
    assert lab.machine().store.addresses() == []


@pytest.mark.parametrize(("build", "text", "name", "seen"), MACHINES, ids=IDS)
def test_dpdk_devbind_itself(lab, build, text, name, seen):
    if not devbind.installed():
        pytest.skip("dpdk-devbind.py is not installed: apt-get install dpdk")
    build(lab)
    assert active_for_devbind(lab) == seen


def test_the_table_in_the_documentation(tmp_path):
    assert PAGE.read_text() == page(tmp_path), "PYTHONPATH=. python tests/binding/machines.py"


@pytest.mark.parametrize(("build", "text", "name", "seen"), MACHINES[2:], ids=IDS[2:])
def test_every_reason_must_be_overridden_by_name(lab, build, text, name, seen):
    build(lab)
    (found,) = plan(lab.machine(), [A], BindRequest())
    names = {reason.name for reason in found.blocking(frozenset())}
    with pytest.raises(Refused):
        bind(lab.machine(), [A], BindRequest(allow=frozenset(names - {name})))
    bind(lab.machine(), [A], BindRequest(allow=frozenset(names)))
    assert lab.kernel.driver(A) == "vfio-pci"


def test_a_group_is_bound_together(lab):
    shared_group(lab)
    bind(lab.machine(), [A, B], BindRequest())
    assert [lab.kernel.driver(name) for name in (A, B)] == ["vfio-pci", "vfio-pci"]


def test_a_bridge_in_the_group_does_no_harm(lab):
    lab.nic(A, "eth0")
    bridge = lab.nic("0000:00:01.0", driver="pcieport", code=0x060400)
    bind(lab.machine(), [A], BindRequest())
    assert [lab.kernel.driver(name) for name in (A, bridge)] == ["vfio-pci", "pcieport"]


def test_the_parents_know_the_login_that_sudo_hides(lab):
    lab.nic(A, "eth0")
    lab.file("proc/20/environ", "HOME=/root\0")
    lab.file("proc/20/status", "Name: sudo\nPPid:\t10")
    lab.file("proc/10/environ", "SSH_CONNECTION=203.0.113.9 1 10.0.0.1 22\0HOME=/")
    lab.lookup("203.0.113.9", "eth0")
    machine = lab.machine().__class__(lab.tree, lab.network, {}, 20)
    (found,) = plan(machine, [A], BindRequest())
    assert [reason.name for reason in found.blocking(frozenset())] == ["ssh"]


def test_shared_memory_file_systems_are_no_network(lab):
    lab.nic(A, "eth0")
    lab.file("proc/mounts", "host /mnt 9p rw,trans=virtio,version=9p2000.L 0 0")
    (found,) = plan(lab.machine(), [A], BindRequest())
    assert not found.blocking(frozenset())


def test_a_mount_whose_server_has_no_address_is_behind_the_default_route(lab):
    ipv6_only(lab)
    lab.file("proc/mounts", "server:/x /mnt nfs rw 0 0")
    (found,) = plan(lab.machine(), [A], BindRequest())
    assert "mount" in {reason.name for reason in found.blocking(frozenset())}
