# SPDX-License-Identifier: Apache-2.0
"""Ways in which a machine may use a NIC. Each builds one on the interface `name`, and may return
environment variables for the command that is to judge.
"""

from __future__ import annotations

import sys

from tests.vm.network import ip, quiet


def idle(guest, name):
    """idle"""


def addressed(guest, name):
    """address, routes, MTU"""
    ip(
        guest,
        f"link set {name} mtu 1400 up",
        f"address add 10.77.0.1/24 dev {name}",
        "route add 10.78.0.0/16 via 10.77.0.2",
        "route add default via 10.77.0.3 table 100",
    )


def ipv4_default(guest, name):
    """IPv4 default route"""
    ip(
        guest,
        f"link set {name} up",
        f"address add 10.77.0.1/24 dev {name}",
        "route add default via 10.77.0.2",
    )


def ipv6_only(guest, name):
    """IPv6-only default route"""
    guest.write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "0")
    ip(
        guest,
        f"link set {name} up",
        f"address add fd77::1/64 dev {name} nodad",
        "route add default via fd77::2",
    )


def policy_table(guest, name):
    """default route in a policy table"""
    ip(guest, f"link set {name} up", f"route add default dev {name} table 100")


def policy_rule(guest, name):
    """policy rule"""
    ip(guest, f"rule add iif {name} table 100")


def renamed(guest, name):
    """renamed interface"""
    ip(guest, f"link set {name} down", f"link set {name} name lan0")
    addressed(guest, "lan0")


def nexthop_object(guest, name):
    """route through a nexthop object"""
    ip(guest, f"link set {name} up", f"address add 10.77.0.1/24 dev {name}")
    quiet(guest, name)
    ip(guest, f"nexthop add id 7 via 10.77.0.2 dev {name}", "route add default nhid 7")


def vlan(guest, name):
    """VLAN"""
    ip(
        guest,
        f"link set {name} up",
        f"link add link {name} name {name}.5 type vlan id 5",
        f"link set {name}.5 up",
        f"address add 10.77.5.1/24 dev {name}.5",
    )


def macvlan(guest, name):
    """macvlan"""
    ip(guest, f"link add link {name} name mac7 type macvlan")


def bond(guest, name):
    """bond"""
    ip(
        guest,
        "link add bond7 type bond mode active-backup",
        f"link set {name} down",
        f"link set {name} master bond7",
        "link set bond7 up",
        "address add 10.77.0.1/24 dev bond7",
        "route add default via 10.77.0.2",
    )


def vlan_on_bond(guest, name):
    """VLAN on a bond"""
    bond(guest, name)
    ip(guest, "link add link bond7 name bond7.5 type vlan id 5", "link set bond7.5 up")


def bridge(guest, name):
    """bridge"""
    ip(
        guest,
        "link add br7 type bridge",
        f"link set {name} up master br7",
        "link set br7 up",
        "address add 10.77.0.1/24 dev br7",
    )


def vrf(guest, name):
    """VRF"""
    ip(guest, "link add vrf7 type vrf table 77", f"link set {name} master vrf7")


def ssh_session(guest, name):
    """SSH session's interface"""
    ip(guest, f"link set {name} up", f"route add 203.0.113.0/24 dev {name} table 100")
    ip(guest, "rule add to 203.0.113.9 table 100")
    return {"SSH_CONNECTION": "203.0.113.9 50000 10.0.0.1 22"}


def physical_with_vfs(guest, name):
    """PF with VFs in use"""
    guest.write(f"/sys/class/net/{name}/device/sriov_numvfs", "2")


SNIFFER = """
import socket, sys, time
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300) as tap:
    tap.bind((sys.argv[1], 3))
    print("bound", flush=True)
    time.sleep(1000)
"""


def sniffed(guest, name):
    """program that captures on it"""
    sniffer = guest.background([sys.executable, "-c", SNIFFER, name])
    sniffer.first_output()


# What blocks binding, by name; one of the texts; does dpdk-devbind see it?
REASONS = {
    idle: (set(), "", False),
    addressed: ({"address", "route", "default-route"}, "{}: route to 10.78.0.0/16", True),
    ipv4_default: ({"address", "default-route"}, "{}: IPv4 default route", True),
    ipv6_only: ({"address", "default-route"}, "{}: IPv6 default route", False),
    policy_table: ({"default-route"}, "{}: IPv4 default route in table 100", False),
    policy_rule: ({"rule"}, "{}: policy rule iif {}, table 100", False),
    nexthop_object: (
        {"address", "default-route"}, "{}: IPv4 default route through nexthop object 7", True
    ),
    vlan: ({"address", "upper"}, "{} → {}.5: vlan {}.5 is stacked on it", False),
    macvlan: ({"upper"}, "{} → mac7: macvlan mac7 is stacked on it", False),
    bond: ({"address", "upper", "default-route"}, "{} → bond7: IPv4 default route", False),
    vlan_on_bond: (
        {"address", "upper", "default-route"}, "{} → bond7 → bond7.5: vlan bond7.5", False
    ),
    bridge: ({"address", "upper"}, "{} → br7: up with carrier, has 10.77.0.1/24", False),
    vrf: ({"vrf"}, "{} → vrf7: it belongs to VRF vrf7", False),
    ssh_session: ({"ssh", "route"}, "{}: this login session comes from 203.0.113.9", False),
    physical_with_vfs: ({"sriov"}, "2 virtual functions would be destroyed", False),
    sniffed: ({"process"}, "{}: python", False),
}  # fmt: skip
NOT_IN_LAB = {macvlan, vrf}  # kinds of interfaces that the lab's kernel was built without
LEFT = ("bond7.5", "bond7", "br7", "mac7", "vrf7")  # interfaces that the above may leave


def undo(guest, name, now):
    """Takes down whatever was built on the interface, which has another name now, perhaps."""
    ip(
        guest,
        *(f"link del {link}" for link in (f"{name}.5", *LEFT)),
        "rule del table 100",
        f"address flush dev {now}",
        f"link set {now} nomaster down mtu 1500",
        f"link set {now} name {name}",  # in a request of its own: older kernels rename first
        force=True,
    )
    guest.write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")
