# SPDX-License-Identifier: Apache-2.0
"""The network configuration that is lost with a NIC's interfaces, collected before that.

Collected are the interfaces themselves, everything that the kernel destroys with them (VLANs,
macvlans), and the addresses, nexthop objects, routes and per-interface sysctls of all of these.
Messages are kept as the kernel sent them; `restore` sends them again. Of neighbors, all static ones
are kept, and some of those that the kernel knows.
Policy rules, bonds, bridges, teams and VRFs stay without the NIC, so they are not collected.
Not kept: traffic control, XDP programs, ethtool settings, bridge VLANs, proxy neighbors.
"""

from __future__ import annotations

from uspnet.binding.netstate import (
    NUD_LEARNED,
    NUD_PERMANENT,
    Kept,
    Link,
    Message,
    Neighbor,
    NetState,
)
from uspnet.pci.sysfs import Tree

SYSCTLS = ("net/ipv4/conf", "net/ipv6/conf", "net/ipv4/neigh", "net/ipv6/neigh")

LEARNED_MAX = 256  # neighbors that are not static: a file of saved states has a limit


def vanishing(state: NetState, names: tuple[str, ...]) -> list[Link]:
    """Return the interfaces of these names and those that the kernel removes with them, lowest
    first.
    """
    found = [link for name in names if (link := state.link(name))]
    for link in found:  # grows while it is walked
        found += [above for above in state.above(link) if above.lower == link.index]
    return list({link.index: link for link in found}.values())


def collect(state: NetState, tree: Tree, names: tuple[str, ...]) -> Message:
    """Return the configuration that is lost with these interfaces, as JSON can hold it."""
    gone = vanishing(state, names)
    indices = {link.index for link in gone}
    nexthops = [hop for hop in state.nexthops if hop.out in indices]
    objects = {hop.id for hop in nexthops}
    groups = [hop for hop in state.nexthops if objects & set(hop.members)]
    return {
        "names": {str(link.index): link.name for link in state.links},
        "own": [name for name in names if state.link(name)],
        "ports": {name: tree.text(f"sys/class/net/{name}/dev_port") for name in names},
        "links": [link.raw for link in gone],
        "addresses": [address.raw for address in state.addresses if address.index in indices],
        "nexthops": [hop.raw for hop in (*nexthops, *groups)],
        "routes": [
            route.raw
            for route in state.routes
            if state.ways(route) & indices and not route.follows_address
        ],
        "neighbors": [each.raw for each in _neighbors(state, indices)],
        "sysctls": {link.name: _sysctls(tree, link.name) for link in gone},
    }


def _neighbors(state: NetState, indices: set[int]) -> list[Neighbor]:
    there = [each for each in state.neighbors if each.index in indices and each.address]
    learned = [each for each in there if each.state & NUD_LEARNED]
    return [each for each in there if each.state & NUD_PERMANENT] + learned[:LEARNED_MAX]


def _sysctls(tree: Tree, name: str) -> dict[str, str]:
    found = {}
    for folder in SYSCTLS:
        for key in tree.names(f"proc/sys/{folder}/{name}"):
            value = tree.text(f"proc/sys/{folder}/{name}/{key}")
            if value is not None:
                found[f"{folder}/{{}}/{key}"] = value
    return found


def pair_up(saved: Kept, tree: Tree, current: tuple[str, ...]) -> dict[str, str]:
    """Map the names of the saved interfaces to current ones: by port number, else in order."""
    now = {tree.text(f"sys/class/net/{name}/dev_port"): name for name in current}
    own = saved.get("own", [])
    if len(now) == len(current) and len(current) > 1:
        ports = saved["ports"]
        return {name: now[ports[name]] for name in own if ports.get(name) in now}
    return dict(zip(own, current, strict=False))
