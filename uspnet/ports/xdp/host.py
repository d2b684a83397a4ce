# SPDX-License-Identifier: Apache-2.0
"""What an `xdp:` port leaves to the kernel's own stack with `keep-host=`."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from array import array
from pathlib import Path

from uspnet.packets.filter.compiler import choose_by
from uspnet.packets.filter.made import Filter

SIOCGIFCONF = 0x8912
IFREQ = 40  # bytes of struct ifreq
ADDRESSES_MAX = 1024
IPV6 = Path("/proc/thread-self/net/if_inet6")  # of where this thread is
# What is for the other end of the link only, which no bridge passes on (802.1Q 8.6.3): LACP of a
# bond's port, spanning trees of a bridge's, EAPOL, LLDP.
LINK = ("ether[0:4] = 0x0180c200 and ether[4:2] < 0x10", "ether proto 0x888e")
# How addresses are found and given: ARP, neighbor discovery, router advertisements, DHCP; and what
# has a hop-by-hop header: who does not answer queries for listeners (MLD) is not found any more.
NEEDED = ("arp", "rarp", "icmp6", "ip6[6] = 0", "udp dst port 68", "udp dst port 546")


def addresses() -> list[str]:
    """Return the IP addresses of this network namespace, but for those of `lo`."""
    room = array("B", bytes(IFREQ * ADDRESSES_MAX))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("=i4xQ", len(room), room.buffer_info()[0])
        (size,) = struct.unpack_from("=i", fcntl.ioctl(sock, SIOCGIFCONF, asked))
    found = [socket.inet_ntoa(room[at + 20 : at + 24].tobytes()) for at in range(0, size, IFREQ)]
    rows = IPV6.read_text().splitlines() if IPV6.exists() else []
    found += [str(ipaddress.IPv6Address(bytes.fromhex(row.split()[0]))) for row in rows]
    return [each for each in found if not ipaddress.ip_address(each).is_loopback]


def others_traffic() -> str:
    """Return the filter of all that is not for this machine itself."""
    own = " or ".join([*NEEDED, *(f"dst host {each}" for each in addresses())])
    tagged = f"vlan and ({own} or (vlan and ({own})))"  # `vlan` moves all that is behind it
    return f"not ({' or '.join(f'({each})' for each in LINK)} or {own} or ({tagged}))"


def wanted(keep_host: str) -> Filter | None:
    """Return the filter of what the job takes, by the option `keep-host`; None: everything. Raises
    Usage.
    """
    if keep_host == "off":
        return None
    return choose_by(others_traffic() if keep_host == "on" else keep_host)
