# SPDX-License-Identifier: Apache-2.0
"""Odd machines, one function each: what uspnet says of them, and what dpdk-devbind would do.

dpdk-devbind.py (22.11) looks at `ip -o route`: a NIC is "*Active*" when the name of one of its own
interfaces stands behind `dev` in the IPv4 main table. Everything else it takes without a word.
"""

import pytest

from uspnet.binding.bind import Wish, bind, plan
from uspnet.binding.netstate import IPV4, IPV6, MAIN_TABLE, PROTO_KERNEL, Nexthop, Rule
from uspnet.errors import Refused

A = "0000:03:00.0"
B = "0000:03:00.1"


def devbind_calls_active(state, names):
    return any(
        (route.family, route.table) == (IPV4, MAIN_TABLE)
        and not route.destination.startswith("169.254")
        and {link.name for link in state.links if link.index in state.ways(route)} & set(names)
        for route in state.routes
    )  # fmt: skip


def idle(lab):
    lab.nic(A, "eth0")


def down_with_old_address(lab):
    lab.nic(A)
    index = lab.link("eth0", up=False, carrier=False)
    lab.kernel.interfaces[A] = [("eth0", index)]
    lab.kernel._interface(A, "eth0", index)
    lab.address("eth0", "10.0.0.1")


def ipv4_default(lab):
    lab.nic(A, "eth0")
    lab.route("eth0")


def ipv6_only_default(lab):
    lab.nic(A, "eth0")
    lab.route("eth0", family=IPV6)


def policy_table(lab):
    lab.nic(A, "eth0")
    lab.route("eth0", table=100)


def policy_rule(lab):
    lab.nic(A, "eth0")
    lab.item("rules", Rule("eth0", 100))


def bond(lab):
    lab.nic(A, "eth0")
    lab.link("bond0", "bond")
    lab.enslave("eth0", "bond0")
    lab.route("bond0")


def bond_in_bridge(lab):
    bond(lab)
    lab.link("br0", "bridge")
    lab.enslave("bond0", "br0")
    lab.route("br0")


def bridge(lab):
    lab.nic(A, "eth0")
    lab.link("br0", "bridge")
    lab.enslave("eth0", "br0")
    lab.address("br0", "10.0.0.1")


def vlan_on_bond(lab):
    lab.nic(A, "eth0")
    lab.link("bond0", "bond")
    lab.enslave("eth0", "bond0")
    lab.link("bond0.5", "vlan", over="bond0")
    lab.route("bond0.5")


def macvlan(lab):
    lab.nic(A, "eth0")
    lab.link("mac0", "macvlan", over="eth0")


def macvlan_of_a_container(lab):
    lab.nic(A, "eth0")
    lab.item("foreign", (lab.index("eth0"), "eth0@container"))


def team(lab):
    lab.nic(A, "eth0")
    lab.link("team0", "team")
    lab.enslave("eth0", "team0")
    lab.route("team0", "10.1.0.0/16")


def nexthop_object(lab):
    lab.nic(A, "eth0")
    lab.item("nexthops", Nexthop(7, lab.index("eth0")))
    lab.item("nexthops", Nexthop(9, 0, (7,)))
    lab.route("", nexthop=9)


def vrf(lab):
    lab.nic(A, "eth0")
    lab.link("blue", "vrf")
    lab.enslave("eth0", "blue")


def ssh_session(lab):
    lab.nic(A, "eth0")
    lab.environ["SSH_CONNECTION"] = "203.0.113.9 50000 10.0.0.1 22"
    lab.lookup("203.0.113.9", "eth0")


def ssh_behind_sudo(lab):
    lab.nic(A, "eth0")
    lab.address("eth0", "10.0.0.1")
    lab.connection("10.0.0.1:22", "203.0.113.9:50000", 4711)
    lab.process(812, "sshd-session", "socket:[4711]")


def connection(lab):
    lab.nic(A, "eth0")
    lab.address("eth0", "10.0.0.1")
    lab.connection("10.0.0.1:443", "203.0.113.9:50000", 4712)


def nfs_through_bond(lab):
    bond_without_routes(lab)
    lab.file("proc/mounts", "nas:/home /home nfs4 rw,vers=4.2,addr=192.0.2.7 0 0")
    lab.lookup("192.0.2.7", "bond0")


def bond_without_routes(lab):
    lab.nic(A, "eth0")
    lab.link("bond0", "bond")
    lab.enslave("eth0", "bond0")


def iscsi(lab):
    lab.nic(A, "eth0")
    lab.file("sys/class/iscsi_session/session1/targetname", "iqn.2004-01.example:disk")
    lab.file("sys/class/iscsi_connection/connection1:0/address", "192.0.2.8")
    lab.lookup("192.0.2.8", "eth0")


def nvme_over_tcp(lab):
    lab.nic(A, "eth0")
    lab.file("sys/class/nvme/nvme1/transport", "tcp")
    lab.file("sys/class/nvme/nvme1/address", "traddr=192.0.2.9,trsvcid=4420")
    lab.lookup("192.0.2.9", "eth0")


def network_boot(lab):
    lab.nic(A, "eth0")
    lab.file("proc/cmdline", "root=/dev/sda1 ip=10.0.0.5::10.0.0.1:255.255.255.0:host:eth0:off")


def ibft(lab):
    lab.nic(A)
    index = lab.link("eth0", mac="52:54:00:00:00:01")
    lab.kernel.interfaces[A] = [("eth0", index)]
    lab.kernel._interface(A, "eth0", index)
    lab.file("sys/firmware/ibft/ethernet0/mac", "52:54:00:00:00:01")


def physical_with_vfs(lab):
    lab.nic(A, "eth0")
    lab.vf(A, "0000:03:10.0", driver="vfio-pci")
    lab.vf(A, "0000:03:10.2", "eth0v1")
    lab.route("eth0v1")


def shared_group(lab):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1")


def bifurcated(lab):
    lab.nic(A, "eth0", driver="mlx5_core")


def another_namespace(lab):
    lab.nic(A)


def sniffed(lab):
    lab.nic(A, "eth0")
    lab.file("proc/net/packet", f"sk RefCnt\n0 3 3 0003 {lab.index('eth0')} 1 0 0 99")
    lab.process(500, "tcpdump", "socket:[99]")


def xdp_program(lab):
    lab.nic(A)
    index = lab.link("eth0", xdp=True)
    lab.kernel.interfaces[A] = [("eth0", index)]
    lab.kernel._interface(A, "eth0", index)


def second_port(lab):
    lab.nic(A, "eth0", "eth1")
    lab.route("eth1")


def connected_network(lab):
    lab.nic(A, "eth0")
    lab.address("eth0", "10.0.0.1")
    lab.route("eth0", "10.0.0.0/24", proto=PROTO_KERNEL)


# machine, the chain and text of the reason, its name (None: not busy), does dpdk-devbind see it?
MACHINES = [
    (idle, "", None, False),
    (down_with_old_address, "", None, False),
    (ipv4_default, "eth0: IPv4 default route", "default-route", True),
    (ipv6_only_default, "eth0: IPv6 default route", "default-route", False),
    (policy_table, "eth0: IPv4 default route in table 100", "default-route", False),
    (policy_rule, "eth0: policy rule iif eth0, table 100", "rule", False),
    (bond, "eth0 → bond0: IPv4 default route", "default-route", False),
    (bond_in_bridge, "eth0 → bond0 → br0: IPv4 default route", "default-route", False),
    (bridge, "eth0 → br0: up with carrier, has 10.0.0.1/24", "address", False),
    (vlan_on_bond, "eth0 → bond0 → bond0.5: IPv4 default route", "default-route", False),
    (macvlan, "eth0 → mac0: macvlan mac0 stands on it", "upper", False),
    (macvlan_of_a_container, "eth0: eth0@container in another network namespace", "upper", False),
    (team, "eth0 → team0: route to 10.1.0.0/16", "route", False),
    (nexthop_object, "eth0: IPv4 default route through nexthop object 9", "default-route", True),
    (vrf, "eth0 → blue: it belongs to VRF blue", "vrf", False),
    (ssh_session, "eth0: this login session comes from 203.0.113.9", "ssh", False),
    (ssh_behind_sudo, "eth0: a login session is connected to 10.0.0.1", "ssh", False),
    (connection, "eth0: 1 connections on 10.0.0.1", "socket", False),
    (nfs_through_bond, "eth0 → bond0: /home (nfs4) from 192.0.2.7", "mount", False),
    (iscsi, "eth0: iSCSI session iqn.2004-01.example:disk from 192.0.2.8", "iscsi", False),
    (nvme_over_tcp, "eth0: NVMe over the network /dev/nvme1 from 192.0.2.9", "iscsi", False),
    (network_boot, "eth0: ip=10.0.0.5::10.0.0.1:255.255.255.0:host:eth0:off", "netboot", False),
    (ibft, "eth0: the firmware booted from iSCSI through it", "netboot", False),
    (physical_with_vfs, "2 virtual functions would be destroyed: 0000:03:10.0", "sriov", False),
    (shared_group, f"{B} (igb, eth1) of IOMMU group 17", "group", False),
    (bifurcated, "mlx5_core shares the device", "bifurcated", False),
    (another_namespace, "igb shows no interface for it", "namespace", False),
    (sniffed, "eth0: tcpdump (process 500) captures or sends on it", "process", False),
    (xdp_program, "eth0: an XDP program is attached", "xdp", False),
    (second_port, "eth1: IPv4 default route", "default-route", True),
    (connected_network, "eth0: up with carrier, has 10.0.0.1/24", "address", True),
]  # fmt: skip
IDS = [build.__name__ for build, *_ in MACHINES]


@pytest.mark.parametrize(("build", "text", "name", "devbind"), MACHINES, ids=IDS)
def test_busy_is_refused_and_idle_is_taken(lab, build, text, name, devbind):
    build(lab)
    names = [interface for interface, _ in lab.kernel.interfaces[A]]
    assert devbind_calls_active(lab.network.state, names) == devbind
    if build in {ibft, xdp_program, down_with_old_address}:
        lab.kernel.natural[A] = "igb"
    (found,) = plan(lab.machine(), [A], Wish())
    blocking = found.blocking(frozenset())
    if name is None:
        assert not blocking
        bind(lab.machine(), [A], Wish())
        assert lab.kernel.driver(A) == "vfio-pci"
        return
    assert [r for r in blocking if r.name == name and str(r).startswith(text)], [
        *map(str, blocking)
    ]
    with pytest.raises(Refused) as refused:
        bind(lab.machine(), [A], Wish())
    assert text in refused.value.message
    assert name in refused.value.hint
    assert refused.value.exit_code == 3
    assert lab.kernel.log == []
    assert lab.machine().store.addresses() == []


@pytest.mark.parametrize(("build", "text", "name", "devbind"), MACHINES[2:], ids=IDS[2:])
def test_every_reason_must_be_overridden_by_name(lab, build, text, name, devbind):
    build(lab)
    (found,) = plan(lab.machine(), [A], Wish())
    names = {reason.name for reason in found.blocking(frozenset())}
    with pytest.raises(Refused):
        bind(lab.machine(), [A], Wish(allow=frozenset(names - {name})))
    bind(lab.machine(), [A], Wish(allow=frozenset(names)))
    assert lab.kernel.driver(A) == "vfio-pci"


def test_a_group_is_bound_together(lab):
    shared_group(lab)
    bind(lab.machine(), [A, B], Wish())
    assert [lab.kernel.driver(name) for name in (A, B)] == ["vfio-pci", "vfio-pci"]


def test_a_bridge_in_the_group_does_no_harm(lab):
    lab.nic(A, "eth0")
    lab.nic("0000:00:01.0", driver="pcieport", code=0x060400)
    bind(lab.machine(), [A], Wish())


def test_the_parents_know_the_login_that_sudo_hides(lab):
    lab.nic(A, "eth0")
    lab.file("proc/20/environ", "HOME=/root\0")
    lab.file("proc/20/status", "Name: sudo\nPPid:\t10")
    lab.file("proc/10/environ", "SSH_CONNECTION=203.0.113.9 1 10.0.0.1 22\0HOME=/")
    lab.lookup("203.0.113.9", "eth0")
    machine = lab.machine().__class__(lab.tree, lab.network, {}, 20)
    (found,) = plan(machine, [A], Wish())
    assert [reason.name for reason in found.blocking(frozenset())] == ["ssh"]


def test_shared_memory_file_systems_are_no_network(lab):
    lab.nic(A, "eth0")
    lab.file("proc/mounts", "host /mnt 9p rw,trans=virtio,version=9p2000.L 0 0")
    (found,) = plan(lab.machine(), [A], Wish())
    assert not found.blocking(frozenset())


def test_a_mount_whose_server_has_no_address_is_behind_the_default_route(lab):
    ipv6_only_default(lab)
    lab.file("proc/mounts", "server:/x /mnt nfs rw 0 0")
    (found,) = plan(lab.machine(), [A], Wish())
    assert "mount" in {reason.name for reason in found.blocking(frozenset())}
