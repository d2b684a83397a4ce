# SPDX-License-Identifier: Apache-2.0
"""The interfaces that `--kernel-routes` names, and the network namespace that they are all in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from uspnet.errors import DeviceFault, NoDevice, Usage
from uspnet.kernel import fib, netns
from uspnet.kernel.interface import existing
from uspnet.kernel.netlink import Netlink
from uspnet.port import Port
from uspnet.ports.kernel import KernelPort
from uspnet.text import printable


def interfaces(given: str, ports: Sequence[Port]) -> tuple[str, list[str]]:
    """Read the names of interfaces, one for each port. Return their network namespace, "" for our
    own, and the names; for alternative names, the first one of `ip link`. Raises Usage, NoDevice,
    NotPermitted, NotSupported, DeviceFault.
    """
    names = [name.strip() for name in given.split(",")]
    if len(names) != len(ports):
        has = "1 interface" if len(names) == 1 else f"{len(names)} interfaces"
        text = f"--kernel-routes names {has}, and there are {len(ports)} ports"
        raise Usage(text, "name one for each port, in their order: --kernel-routes eth0,eth1")
    namespace = _home(names, ports)
    with netns.entered(namespace):
        return namespace, _known([netns.split(name)[1] for name in names])


def _home(names: Sequence[str], ports: Sequence[Port]) -> str:
    """Return the namespace that interfaces are in: the one that is named, or else that of a port on
    an interface of this name. Raises Usage for two of them, which have routes of their own.
    """
    found: dict[tuple[int, int], str] = {}
    for name, port in zip(names, ports, strict=True):
        said, ifname = netns.split(name)
        if not said and isinstance(port, KernelPort):
            said, own = netns.split(port.spec.target)
            if ifname != own:
                continue
        elif not said:
            continue
        found[netns.identity(said)] = said
    if len(found) > 1:
        first, second, *_ = (printable(said) or "our own" for said in found.values())
        text = f"--kernel-routes names interfaces in two network namespaces, {first} and {second}"
        raise Usage(f"{text}, each of which has routes of its own", "name those of one of them")
    found.pop(netns.identity(""), "")
    return next(iter(found.values()), "")


def _known(names: Iterable[str]) -> list[str]:
    """Return the first names of interfaces of this thread's namespace. Raises as `interfaces`."""
    try:
        netlink = Netlink()
        with netlink.socket:
            known = fib.links(netlink)
    except OSError as error:
        raise DeviceFault(f"the kernel's interfaces can't be read: {error}") from None
    found: list[str] = []
    for name in names:
        if name not in known:
            raise NoDevice(f"there is no interface {name}", existing())
        if known[name].name in found:
            text = f"--kernel-routes names {known[name].name} twice"
            raise Usage(text, "name one for each port")
        found.append(known[name].name)
    return found


def kernel_forwards(names: Iterable[str], namespace: str) -> Iterator[str]:
    """Say that the kernel forwards as well, as it does the copies that `packet:` leaves it. This
    thread is in the interfaces' `namespace`.
    """
    sysctl = f"ip netns exec {printable(namespace)} sysctl" if namespace else "sysctl"
    for name in names:
        for family in ("ipv4", "ipv6"):
            setting = f"net/{family}/conf/{name}/forwarding"
            with contextlib.suppress(OSError):
                if Path("/proc/sys", setting).read_text() == "1\n":
                    yield f"{name}: the kernel forwards, too, what it gets; see: {sysctl} {setting}"
