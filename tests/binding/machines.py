# SPDX-License-Identifier: Apache-2.0
"""Odd machines, one function each: what uspnet says of them, and what dpdk-devbind would do, which
takes whatever it does not call *Active*. Run as a program, this writes docs/bind-safety.md's table.
"""

import tempfile
from pathlib import Path

from tests.binding.conftest import Lab
from tests.support import devbind
from tests.vm import topologies
from uspnet.binding.bind import BindRequest, plan
from uspnet.binding.netstate import IPV4, IPV6, MAIN_TABLE, PROTO_KERNEL, Nexthop, Rule

A = "0000:03:00.0"
B = "0000:03:00.1"


def active_for_devbind(lab):
    """What dpdk-devbind's own code says of A, when lspci and iproute2 tell it of this machine."""
    net = lab.network.state
    names = {link.index: link.name for link in net.links}

    def answer(argv):
        if argv[0] == "lspci":
            return b"".join(
                f"Slot:\t{path.name}\nClass:\tEthernet controller [0200]\nVendor:\tIntel [8086]\n"
                f"Device:\tNIC [10c9]\nDriver:\t{lab.kernel.driver(path.name)}\n\n".encode()
                for path in (lab.root / "sys/bus/pci/devices").iterdir()
            )
        assert argv == ["ip", "-o", "route"]  # which shows one table of one family
        return "".join(
            f"{route.destination} dev {names[index]}\n"
            for route in net.routes
            if (route.family, route.table) == (IPV4, MAIN_TABLE)
            for index in net.ways(route)
        ).encode()

    return A in devbind.active(str(lab.root), answer)


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


def ipv6_only(lab):
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
    (ipv6_only, "eth0: IPv6 default route", "default-route", False),
    (policy_table, "eth0: IPv4 default route in table 100", "default-route", False),
    (policy_rule, "eth0: policy rule iif eth0, table 100", "rule", False),
    (bond, "eth0 → bond0: IPv4 default route", "default-route", False),
    (bond_in_bridge, "eth0 → bond0 → br0: IPv4 default route", "default-route", False),
    (bridge, "eth0 → br0: up with carrier, has 10.0.0.1/24", "address", False),
    (vlan_on_bond, "eth0 → bond0 → bond0.5: IPv4 default route", "default-route", False),
    (macvlan, "eth0 → mac0: macvlan mac0 is stacked on it", "upper", False),
    (macvlan_of_a_container, "eth0: eth0@container in another network namespace", "upper", False),
    (team, "eth0 → team0: route to 10.1.0.0/16", "route", False),
    (nexthop_object, "eth0: IPv4 default route through nexthop object 9", "default-route", True),
    (vrf, "eth0 → blue: it belongs to VRF blue", "vrf", False),
    (ssh_session, "eth0: this login session comes from 203.0.113.9", "ssh", False),
    (ssh_behind_sudo, "eth0: a login session is connected to 10.0.0.1", "ssh", False),
    (connection, "eth0: 1 connection on 10.0.0.1", "socket", False),
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


def table(folder):
    """docs/bind-safety.md's table, as uspnet's verdicts and MACHINES have it."""
    head = ("machine", "uspnet says", "by name", "dpdk-devbind", "")
    rows = [f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n"]
    for build, text, name, seen in MACHINES:
        lab = Lab(folder / build.__name__)
        build(lab)
        (found,) = plan(lab.machine(), [A], BindRequest())
        said = [str(r) for r in found.blocking(frozenset()) if r.name == name and text in str(r)]
        verdict = (said[0], f"`{name}`") if said else ("*free: takes it*", "")
        there = "guest" if build.__name__ in IN_GUEST else ""
        devbind_does = "refuses" if seen else "takes it"
        rows.append(
            f"| {build.__name__.replace('_', ' ')} | {verdict[0]} | {verdict[1]} | "
            f"{devbind_does} | {there} |\n"
        )
    return "".join(rows)


IN_GUEST = {build.__name__ for build in topologies.REASONS} | {"shared_group"}
PAGE = Path(__file__).parents[2] / "docs/bind-safety.md"
BEGIN, END = "<!-- machines -->\n", "<!-- end of machines -->"


def page(folder):
    """The page as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{before}{BEGIN}{table(folder)}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        PAGE.write_text(page(Path(made)))
