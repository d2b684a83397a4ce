# SPDX-License-Identifier: Apache-2.0
"""The machine on which NICs are bound: its files, its network, its module loader. Tests inject
their own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from uspnet.binding import rebind
from uspnet.binding.netstate import Kept, NetState
from uspnet.binding.saved import Store
from uspnet.errors import NotPermitted
from uspnet.kernel.netdev import features
from uspnet.pci.functions import PROBE
from uspnet.pci.sysfs import HOST, Tree


class Network(Protocol):
    """The machine's network configuration, to read and to restore."""

    def snapshot(self, peers: Sequence[str]) -> NetState:
        """Read the configuration, and look up the route to each of `peers`."""

    def xdp(self) -> Mapping[int, str]:
        """Return each interface's fastest mode of `xdp:`, by index; those that are known."""

    def apply(self, saved: Kept, pairs: Mapping[str, str], elapsed_s: float) -> list[str]:
        """Restore what `collect` saved. Returns what failed."""


class KernelNetwork:
    """The network of this process's network namespace, through netlink. `tree`: has the sysctls."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def snapshot(self, peers: Sequence[str]) -> NetState:
        """Read the configuration of this network namespace."""
        from uspnet.binding.netlink import snapshot  # noqa: PLC0415 - pyroute2 is slow to import

        return snapshot(peers)

    def xdp(self) -> Mapping[int, str]:
        """Return the modes of this network namespace's interfaces, as their drivers tell."""
        return {index: offers.mode for index, offers in features().items()}

    def apply(self, saved: Kept, pairs: Mapping[str, str], elapsed_s: float) -> list[str]:
        """Restore interfaces, addresses, routes and sysctls."""
        from uspnet.binding.restore import apply  # noqa: PLC0415 - as above

        return apply(saved, self.tree, pairs, elapsed_s)


@dataclass(frozen=True)
class Machine:
    """The machine on which NICs are bound."""

    tree: Tree
    network: Network
    environ: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0
    modprobe: rebind.Modprobe = rebind.modprobe

    @property
    def store(self) -> Store:
        """Saved states."""
        return Store(self.tree)


def this_machine() -> Machine:
    """Return the machine that uspnet runs on."""
    return Machine(HOST, KernelNetwork(HOST), os.environ, os.getpid())


def check_privilege(tree: Tree) -> None:
    """Raise NotPermitted if sysfs can't be written."""
    if not os.access(tree.path(PROBE), os.W_OK):
        raise NotPermitted("binding and unbinding need root", "run it with sudo")


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT, SIGTERM and SIGHUP until the device is in its old state or its new one."""
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
