# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of an interface for `xdp:`: which mode a job would get, and what is in its
way.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import closing
from typing import Literal

from uspnet.errors import NotSupported
from uspnet.kernel import netdev, netns
from uspnet.kernel.interface import Interface
from uspnet.kernel.routes import carries_default_route
from uspnet.ports.xdp import tags
from uspnet.ports.xdp.channels import counted
from uspnet.ports.xdp.options import XdpOptions
from uspnet.ports.xdp.program import NEEDS, TO_FILTER, ways_on
from uspnet.system.privileges import lacking

State = Literal["ok", "note", "problem"]
Row = tuple[str, State, str, str]  # what was checked, its state, what was found, the fix

DEFAULTS = XdpOptions()
NO_ZERO_COPY = "driver without zero copy: frames are copied once"


def xdp_rows(target: str, options: XdpOptions = DEFAULTS) -> list[Row]:
    """Check an interface, IFNAME or NETNS/IFNAME, for a job with these options. Raises NoDevice,
    and as `netns.entered`.
    """
    namespace, ifname = netns.split(target)
    with netns.entered(namespace):
        return list(_rows(target, namespace, ifname, options))


def _rows(target: str, namespace: str, ifname: str, options: XdpOptions) -> Iterator[Row]:
    yield _privileges(options.keep_host)
    yield memory_row()
    with closing(Interface(ifname, namespace)) as interface:
        offers = netdev.features().get(interface.index)
        yield _mode(interface, f"xdp:{target}", options.mode, offers)
        yield _tags(interface, offers)
        yield _queues(interface)
        number = netdev.program(interface.index)
    if number:
        fix = f"end its owner: bpftool net; or use packet:{target}"
        yield ("XDP program", "problem", f"program {number} is attached", fix)
    else:
        yield ("XDP program", "ok", "none is attached", "")
    if options.keep_host == "off" and (upper := carries_default_route(ifname)):
        fix = f"xdp:{target},keep-host=on"
        yield ("default route", "note", f"{upper} carries it", fix)


def memory_row() -> Row:
    """Check how much packet memory this process may lock."""
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if most == resource.RLIM_INFINITY or not lacking(("CAP_IPC_LOCK",)):
        return ("XDP memory", "ok", "as much as there is", "")
    found = f"at most {most >> 10} KiB may be locked, by all jobs of this user"
    return ("XDP memory", "note", found, "ulimit -l unlimited; or give CAP_IPC_LOCK")


def _privileges(keep_host: str) -> Row:
    needs = NEEDS if keep_host == "off" else TO_FILTER
    missing = lacking(needs)
    if not missing:
        return ("XDP privileges", "ok", ", ".join(needs), "")
    if keep_host not in {"off", "on"} and missing == ["CAP_PERFMON"]:
        found = "without CAP_PERFMON, filters look at fixed places only"
        return ("XDP privileges", "note", found, "run as root, or with it")
    found = f"without {', '.join(missing)}"
    return ("XDP privileges", "problem", found, "run as root, or with these")


def _mode(interface: Interface, name: str, mode: str, offers: netdev.Features | None) -> Row:
    """Check what becomes of the option `mode` of the port `name`."""
    try:
        ways = ways_on(interface, name, mode)
    except NotSupported as error:
        return ("XDP mode", "problem", error.message, error.hint)
    if mode == "generic":
        return ("XDP mode", "ok", "generic, as asked for", "")
    if offers is None:
        return ("XDP mode", "note", "the kernel is too old to say (before 6.3)", "")
    if not (offers.zero_copy if mode == "zero-copy" else offers.native or mode == "auto"):
        found = f"{mode} is asked for, and the driver offers no more than {offers.mode}"
        return ("XDP mode", "problem", found, "write mode=auto")
    if mode == "copy":
        return ("XDP mode", "ok", "copy, as asked for", "")
    return _offered(offers) if "native" in ways else _generic("a bond's own")


def _generic(why: str) -> Row:
    return ("XDP mode", "note", f"generic: {why}, which is slower", "")


def _offered(offers: netdev.Features) -> Row:
    if offers.mode == "generic":
        return _generic("the driver has no XDP of its own")
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
