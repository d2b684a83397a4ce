# SPDX-License-Identifier: Apache-2.0
"""What an `xdp:` port leaves to the kernel's own stack with `keep-host=`."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from contextlib import suppress

from uspnet.errors import NotSupported
from uspnet.kernel.netlink import DUMP, Netlink, attributes
from uspnet.packets.filter.compiler import choose_by
from uspnet.packets.filter.made import Filter
from uspnet.system.kept import ANEW

GETADDR, IFADDRMSG, IFA_ADDRESS, IFA_LOCAL = 22, 8, 1, 2  # uapi/linux/if_addr.h
LOOK_S = 1.0  # between looks at the addresses
# What is for the other end of the link only, which no bridge passes on (802.1Q 8.6.3): LACP of a
# bond's port, spanning trees of a bridge's, EAPOL, LLDP.
LINK = ("ether[0:4] = 0x0180c200 and ether[4:2] < 0x10", "ether proto 0x888e")
# How addresses are found and given: ARP, neighbor discovery, router advertisements, DHCP; and what
# has a hop-by-hop header: who does not answer queries for listeners (MLD) is not found any more.
NEEDED = ("arp", "rarp", "icmp6", "ip6[6] = 0", "udp dst port 68", "udp dst port 546")


class Host:
    """The IP addresses of the network namespace that this thread is in now, but for those of `lo`.
    `name`: of the port. Raises NotSupported.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self.netlink = Netlink()
            self.first = self.known = self.addresses()
        except OSError as error:
            text = f"{name}: this machine's addresses are not told: {error.strerror}"
            raise NotSupported(text, "write the filter of what is received") from None
        self._look_at = time.monotonic() + LOOK_S

    def close(self) -> None:
        """Look no more."""
        self.netlink.socket.close()

    def addresses(self) -> set[str]:
        """Return those that it has now. Raises OSError."""
        rows = self.netlink.ask(GETADDR, bytes(IFADDRMSG), DUMP)
        told = (attributes(row, IFADDRMSG) for row in rows)
        raw = {each.get(IFA_LOCAL) or each.get(IFA_ADDRESS, b"") for each in told}
        found = {ipaddress.ip_address(each) for each in raw if len(each) in {4, 16}}
        return {str(each) for each in found if not each.is_loopback}

    def news(self) -> str:
        """Return which addresses it has got since the start, each once; "": none, or it is too soon
        to ask again.
        """
        if time.monotonic() < self._look_at:
            return ""
        self._look_at = time.monotonic() + LOOK_S
        with suppress(OSError):  # it changed meanwhile, or the kernel has no memory
            new = self.addresses() - self.known
            self.known = self.known | new
            return self._notice(new) if new else ""
        return ""

    def check_known(self) -> None:
        """Raise NotSupported if it has got addresses since the start, of which a program that stays
        knows nothing.
        """
        new = self.known - self.first
        with suppress(OSError):
            new |= self.addresses() - self.first
        if new:
            text = f"{self.name}: this machine has {' and '.join(sorted(new))} since the start"
            raise NotSupported(text, ANEW)

    def _notice(self, new: set[str]) -> str:
        text = f"{self.name}: this machine has {' and '.join(sorted(new))} now, too"
        return f"{text}: what is for it, this job gets; a new start leaves it to the kernel"


def others_traffic(addresses: Iterable[str]) -> str:
    """Return the filter of all that is not for this machine itself, which has these addresses."""
    own = " or ".join([*NEEDED, *(f"dst host {each}" for each in sorted(addresses))])
    tagged = f"vlan and ({own} or (vlan and ({own})))"  # `vlan` moves all that is behind it
    return f"not ({' or '.join(f'({each})' for each in LINK)} or {own} or ({tagged}))"


def wanted(keep_host: str, host: Host | None) -> Filter | None:
    """Return the filter of what the job takes, by the option `keep-host`; None: everything. `host`:
    this machine, where it is `on`. Raises Usage.
    """
    if keep_host == "off":
        return None
    return choose_by(others_traffic(host.known) if host else keep_host)
