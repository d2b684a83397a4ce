# SPDX-License-Identifier: Apache-2.0
"""extcap: the ports that Wireshark is shown: NICs that the kernel gave away, and memif's sockets.
Kernel interfaces are on its list already.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LISTENING, SEQPACKET = 0x10000, 5  # flags and type of a socket, in /proc/net/unix
SOCKETS = "/proc/net/unix"
# Other sockets of that kind: of the system, and those by which our own jobs are controlled.
OTHERS = re.compile(r"(/var)?/run/(udev|systemd)/.*|@/org/.*|@uspnet-[0-9]+")


class Offer(NamedTuple):
    """A port, and how a list shows it."""

    port: str
    display: str


ANY = Offer("uspnet", "uspnet: any port, named in the options")


def offers() -> list[Offer]:
    """Return the ports that there are now."""
    return [*_nics(), *_sockets(), ANY]


def _nics() -> list[Offer]:
    from uspnet.pci.functions import scan  # noqa: PLC0415 - where there is no sysfs, there is none
    from uspnet.pci.sysfs import Tree  # noqa: PLC0415

    return [
        Offer(each.address, f"uspnet: NIC {each.address} ({each.ids})")
        for each in scan(Tree())
        if each.in_user_space
    ]


def _sockets() -> list[Offer]:
    """Return the sockets of memif servers: those of its kind on which somebody listens."""
    try:
        with open(SOCKETS, errors="surrogateescape") as lines:
            rows = [line.rstrip("\n").split(None, 7) for line in lines][1:]
    except OSError:
        return []
    paths = {
        row[7]
        for row in rows
        if len(row) == 8 and int(row[3], 16) & LISTENING and int(row[4], 16) == SEQPACKET
    }
    return [
        Offer("memif:" + path.replace(",", "\\,"), f"uspnet: memif {path}")
        for path in sorted(paths)
        if path.isprintable() and not OTHERS.fullmatch(path)
    ]
