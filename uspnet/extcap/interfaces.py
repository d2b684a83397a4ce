# SPDX-License-Identifier: Apache-2.0
"""extcap: the ports that Wireshark is shown: NICs that the kernel gave away, memif's sockets, and
running jobs. Kernel interfaces are on its list already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

LISTENING, SEQPACKET = 0x10000, 5  # flags and type of a socket, in /proc/net/unix
SOCKETS = "/proc/net/unix"
JOB = re.compile(r"@uspnet-([0-9]+)")  # by which our own jobs are controlled: `telemetry.reaching`
OTHERS = re.compile(r"(/var)?/run/(udev|systemd)/.*|@/org/.*")  # of that kind, of the system


class Offer(NamedTuple):
    """A port, and how a list shows it."""

    port: str
    display: str


ANY = Offer("uspnet", "uspnet: any port, named in the options")


def offers() -> list[Offer]:
    """Return the ports that there are now."""
    listening = _listening()
    return [*_nics(), *_sockets(listening), *_jobs(listening), ANY]


def _nics() -> list[Offer]:
    from uspnet.pci.functions import scan  # noqa: PLC0415 - where there is no sysfs, there is none
    from uspnet.pci.sysfs import Tree  # noqa: PLC0415

    return [
        Offer(each.address, f"uspnet: NIC {each.address} ({each.ids})")
        for each in scan(Tree())
        if each.in_user_space
    ]


def _listening() -> list[str]:
    """Return the names of sockets of memif's kind on which somebody listens."""
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
    return [path for path in sorted(paths) if path.isprintable() and not OTHERS.fullmatch(path)]


def _sockets(listening: list[str]) -> list[Offer]:
    """Return the sockets of memif servers."""
    return [
        Offer("memif:" + path.replace(",", "\\,"), f"uspnet: memif {path}")
        for path in listening
        if not JOB.fullmatch(path)
    ]


def _jobs(listening: list[str]) -> Iterator[Offer]:
    """Yield the jobs that this user may capture from: their first port, the others by an option."""
    for found in filter(None, map(JOB.fullmatch, listening)):
        try:
            user = os.stat(f"/proc/{found[1]}").st_uid
        except OSError:
            continue
        if os.geteuid() in {0, user}:
            yield Offer(f"job:{found[1]}", f"uspnet: running job {found[1]}")
