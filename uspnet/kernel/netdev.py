# SPDX-License-Identifier: Apache-2.0
"""What the drivers of interfaces can do with XDP, and which program an interface has, by netlink.
Whoever imports this waits for pyroute2.

Reference: Linux Documentation/netlink/specs/netdev.yaml; uapi/linux/netdev.h.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import AsyncGenericNetlinkSocket

DEV_GET = 1
BASIC, REDIRECT, ZERO_COPY, RX_PIECES = 1, 2, 8, 32

Mode = Literal["zero-copy", "copy", "generic"]


class Device(genlmsg):  # type: ignore[misc] # pyroute2 has no types
    """An interface in the family `netdev`."""

    __slots__ = ()
    nla_map = (
        ("PAD_0", "none"),
        ("IFINDEX", "uint32"),
        ("PAD", "none"),
        ("XDP_FEATURES", "uint64"),
    )


class NetdevSocket(AsyncGenericNetlinkSocket):  # type: ignore[misc]
    """A socket of the family `netdev`. What the kernel lacks is not logged."""

    module_err_level = "debug"


@dataclass(frozen=True)
class Features:
    """What a driver offers. `pieces`: receives frames that take several buffers."""

    native: bool
    zero_copy: bool
    pieces: bool

    @property
    def mode(self) -> Mode:
        """Return the fastest mode of `xdp:`."""
        if not self.native:
            return "generic"
        return "zero-copy" if self.zero_copy else "copy"


def features() -> dict[int, Features]:
    """Return what each interface's driver offers, by index; nothing if the kernel is older than
    6.3.
    """
    try:
        return asyncio.run(_features())
    except (OSError, NetlinkError):
        return {}


async def _features() -> dict[int, Features]:
    sock, found = NetdevSocket(), {}
    try:
        await sock.setup_endpoint()
        await sock.bind("netdev", Device)
        request = Device()
        request["cmd"], request["version"] = DEV_GET, 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        async for device in await sock.nlm_request(request, sock.prid, flags):
            bits = device.get("XDP_FEATURES") or 0
            native = bits & (BASIC | REDIRECT) == BASIC | REDIRECT
            offers = Features(native, bool(bits & ZERO_COPY), bool(bits & RX_PIECES))
            found[int(device.get("IFINDEX"))] = offers
    finally:
        sock.close()
    return found


def program(ifindex: int) -> int:
    """Return the id of the XDP program that is attached to an interface; 0: none, or unknown."""
    try:
        return asyncio.run(_program(ifindex))
    except (OSError, NetlinkError):
        return 0


async def _program(ifindex: int) -> int:
    async with AsyncIPRoute() as route:
        for link in await route.link("get", index=ifindex):
            return int(link.get_nested("IFLA_XDP", "IFLA_XDP_PROG_ID") or 0)
    return 0
