# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of an interface for `xdp:`: which mode a job would get, and what is in its
way.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import closing
from typing import Literal

from uspnet.kernel import netdev, netns
from uspnet.kernel.interface import Interface
from uspnet.kernel.routes import carries_default_route
from uspnet.ports.xdp import tags
from uspnet.ports.xdp.channels import counted
from uspnet.ports.xdp.program import NEEDS
from uspnet.system.privileges import lacking

State = Literal["ok", "note", "problem"]
Row = tuple[str, State, str, str]  # what was checked, its state, what was found, the fix

NO_ZERO_COPY = "driver without zero copy: frames are copied once"


def xdp_rows(target: str) -> list[Row]:
    """Check an interface, IFNAME or NETNS/IFNAME. Raises NoDevice, and as `netns.entered`."""
    namespace, ifname = netns.split(target)
    with netns.entered(namespace):
        return list(_rows(target, namespace, ifname))


def _rows(target: str, namespace: str, ifname: str) -> Iterator[Row]:
    missing = ", ".join(lacking(NEEDS))
    if missing:
        yield ("XDP privileges", "problem", f"without {missing}", "run as root, or with these")
    else:
        yield ("XDP privileges", "ok", ", ".join(NEEDS), "")
    yield memory_row()
    with closing(Interface(ifname, namespace)) as interface:
        offers = netdev.features().get(interface.index)
        yield _mode(offers)
        yield _tags(interface, offers)
        yield _queues(interface)
        number = netdev.program(interface.index)
    if number:
        fix = f"end its owner: bpftool net; or use packet:{target}"
        yield ("XDP program", "problem", f"program {number} is attached", fix)
    else:
        yield ("XDP program", "ok", "none is attached", "")
    if upper := carries_default_route(ifname):
        fix = f"xdp:{target},keep-host=on"
        yield ("default route", "note", f"{upper} carries it", fix)


def memory_row() -> Row:
    """Check how much packet memory this process may lock."""
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if most == resource.RLIM_INFINITY or not lacking(("CAP_IPC_LOCK",)):
        return ("XDP memory", "ok", "as much as there is", "")
    found = f"at most {most >> 10} KiB may be locked, by all jobs of this user"
    return ("XDP memory", "note", found, "ulimit -l unlimited; or give CAP_IPC_LOCK")


def _mode(offers: netdev.Features | None) -> Row:
    if offers is None:
        return ("XDP mode", "note", "the kernel is too old to say (before 6.3)", "")
    if offers.mode == "generic":
        found = "generic: the driver has no XDP of its own, which is slower"
        return ("XDP mode", "note", found, "")
    pieces = "" if offers.pieces else "; no jumbo frames"
    if offers.mode == "copy":
        return ("XDP mode", "note", f"copy: a {NO_ZERO_COPY}{pieces}", "")
    return ("XDP mode", "ok", f"zero copy{pieces}", "")


def _queues(interface: Interface) -> Row:
    told = counted(interface)
    if not told:
        return ("XDP queues", "note", "neither driver nor kernel tells them", "write queues=0-N")
    receive, transmit = told
    found = f"{receive} to receive, {transmit} to transmit"
    if receive > transmit:
        fix = f"ethtool -L {interface.name} tx {receive}"
        return ("XDP queues", "note", f"{found}: the others send nothing", fix)
    return ("XDP queues", "ok", found, "")


def _tags(interface: Interface, offers: netdev.Features | None) -> Row:
    """Check what becomes of VLAN tags that the NIC takes out of frames."""
    if offers and offers.native and offers.tags and tags.asking():
        return ("XDP VLAN tags", "ok", "put back where the NIC takes them out", "")
    if interface.takes_tags_out():
        return ("XDP VLAN tags", "note", tags.LOST, tags.remedy(interface.name))
    return ("XDP VLAN tags", "ok", "stay in frames", "")
