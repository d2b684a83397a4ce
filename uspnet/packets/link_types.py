# SPDX-License-Identifier: Apache-2.0
"""What the packets of kernel interfaces begin with, by ARPHRD_… of linux/if_arp.h."""

from __future__ import annotations

ETHERNET = {1: "Ethernet", 772: "the loopback interface"}
IP = {
    0xFFFE: "raw IP, as of TUN and WireGuard",
    519: "raw IP",
    512: "PPP",
    768: "an IPv4 tunnel",
    769: "an IPv6 tunnel",
    776: "an IPv6-in-IPv4 tunnel",
}
OTHER = {
    24: "FireWire",
    32: "InfiniBand",
    256: "SLIP",
    280: "CAN",
    513: "HDLC",
    778: "a GRE tunnel",
    801: "802.11",
    802: "802.11 with Prism headers",
    803: "802.11 in monitor mode",
    804: "802.15.4",
    805: "802.15.4 in monitor mode",
    823: "a GRE tunnel over IPv6",
    824: "netlink",
    825: "6LoWPAN",
    826: "vsock",
}


def describe(link_type: int) -> str:
    """In words, as far as it has a name."""
    known = {**ETHERNET, **IP, **OTHER}
    return known.get(link_type, f"link type {link_type} (linux/if_arp.h)")
