# SPDX-License-Identifier: Apache-2.0
"""A made-up machine: PCI functions in sysfs below tmp_path, and a kernel that reacts to writes."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from uspnet.binding import guardian
from uspnet.binding.machine import Machine
from uspnet.binding.netstate import IPV4, IPV6, Address, Link, NetState, Route
from uspnet.pci.functions import PROBE
from uspnet.pci.sysfs import Tree

BUS = "sys/bus/pci"
ROOT = "sys/devices/pci0000:00"


class Kernel:
    """What the kernel does when somebody writes to sysfs. Writes fail when told to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[tuple[str, str]] = []
        self.fail = lambda _: False  # which writes fail, by number from 0
        self.vanish_at: int | None = None
        self.natural: dict[str, str] = {}  # address → the driver that matches its ids
        self.interfaces: dict[str, list[tuple[str, int]]] = {}  # address → (name, index) on attach
        self.next_index = 100
        self.rename = lambda name: name  # the name that the kernel gives anew

    def device(self, address: str) -> Path:
        return self.root / ROOT / address

    def driver(self, address: str) -> str | None:
        link = self.device(address) / "driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def write(self, path: str, text: str) -> None:
        step = len(self.log)
        self.log.append((path, text))
        if self.vanish_at == step:
            for address in list(self.interfaces):
                self.remove(address)
        if self.fail(step):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real = Path(os.path.realpath(self.root / path))
        if not real.exists():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.react(real, text.strip())

    def react(self, real: Path, text: str) -> None:
        if real.name == "driver_override":
            real.write_text(f"{text or '(null)'}\n")
        elif real.name == "unbind":
            self.detach(text)
        elif real.name == "drivers_probe":
            self.probe(text)
        elif real.name == "bind":
            if self.driver(text) or real.parent.name != self.match(text):
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            self.attach(text, real.parent.name)
        else:
            real.write_text(text)

    def match(self, address: str) -> str | None:
        override = (self.device(address) / "driver_override").read_text().strip()
        return self.natural.get(address) if override == "(null)" else override

    def probe(self, address: str) -> None:
        name = self.match(address)
        if not self.driver(address) and name and (self.root / BUS / "drivers" / name).exists():
            self.attach(address, name)

    def attach(self, address: str, name: str, *, first: bool = False) -> None:
        (self.device(address) / "driver").symlink_to(f"../../../bus/pci/drivers/{name}")
        if name == self.natural.get(address):
            for interface, index in self.interfaces[address]:
                now = interface if first else self.rename(interface)
                self._interface(address, now, index if first else self.next_index)
                self.next_index += 1

    def _interface(self, address: str, name: str, index: int) -> None:
        folder = self.device(address) / "net" / name
        folder.mkdir(parents=True)
        (folder / "device").symlink_to("../..")
        (folder / "ifindex").write_text(f"{index}\n")
        (self.root / "sys/class/net").mkdir(parents=True, exist_ok=True)
        (self.root / "sys/class/net" / name).symlink_to(folder)

    def detach(self, address: str) -> None:
        if not self.driver(address):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        (self.device(address) / "driver").unlink()
        net = self.device(address) / "net"
        for name in os.listdir(net) if net.exists() else []:
            (self.root / "sys/class/net" / name).unlink()
        shutil.rmtree(net, ignore_errors=True)

    def remove(self, address: str) -> None:
        if self.driver(address):
            self.detach(address)
        shutil.rmtree(self.device(address), ignore_errors=True)
        (self.root / BUS / "devices" / address).unlink(missing_ok=True)


class FakeTree(Tree):
    """Writes below sys/ go to the made-up kernel."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(str(kernel.root))
        assert self.root != "/"
        self.kernel = kernel

    def write(self, name: str, text: str) -> None:
        self.kernel.write(name, text)


class FakeNetwork:
    """The configuration as tests set it, and what was to be given back."""

    def __init__(self) -> None:
        self.state = NetState()
        self.problems: list[str] = []
        self.applied: list[dict[str, str]] = []
        self.modes: dict[int, str] = {}

    def snapshot(self, peers):
        return self.state

    def xdp(self):
        return self.modes

    def apply(self, saved, pairs, elapsed_s):
        self.applied.append(dict(pairs))
        return self.problems


class Lab:
    """Builds machines. Interface indices are given as they come: 2, 3, …"""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kernel = Kernel(root)
        self.tree = FakeTree(self.kernel)
        self.network = FakeNetwork()
        self.environ: dict[str, str] = {}
        self.loaded: list[str] = []
        for name in ("devices", "drivers"):
            (root / BUS / name).mkdir(parents=True)
        (root / PROBE).touch()
        self.file("proc/sys/kernel/random/boot_id", "boot-1")
        self.file("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro")
        for name in ("vfio-pci", "uio_pci_generic", "igb"):
            self.driver(name)

    def file(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def driver(self, name: str) -> None:
        folder = self.root / BUS / "drivers" / name
        folder.mkdir(parents=True)
        (folder / "bind").touch()
        (folder / "unbind").touch()

    def nic(
        self, address="0000:03:00.0", *names, driver="igb", group="17", code=0x020000, ids=0x10C9
    ):
        """A function whose driver shows the named interfaces."""
        device = self.kernel.device(address)
        device.mkdir(parents=True)
        files = {
            "vendor": "0x8086", "device": f"{ids:#06x}", "class": f"{code:#08x}", "numa_node": "0",
            "driver_override": "(null)",
        }  # fmt: skip
        for name, text in files.items():
            (device / name).write_text(f"{text}\n")
        (self.root / BUS / "devices" / address).symlink_to(device)
        if group:
            members = self.root / f"sys/kernel/iommu_groups/{group}/devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(device)
            (device / "iommu_group").symlink_to(members.parent)
        self.kernel.interfaces[address] = []
        for name in names:
            index = self.link(name)
            self.kernel.interfaces[address].append((name, index))
        if driver:
            if not (self.root / BUS / "drivers" / driver).exists():
                self.driver(driver)
            if driver not in {"vfio-pci", "uio_pci_generic"}:
                self.kernel.natural[address] = driver
            self.kernel.attach(address, driver, first=True)
        return address

    def vf(self, physical: str, address: str, *names: str, driver="igb") -> str:
        self.nic(address, *names, driver=driver, group=address)
        number = len(list(self.kernel.device(physical).glob("virtfn*")))
        (self.kernel.device(physical) / f"virtfn{number}").symlink_to(f"../{address}")
        (self.kernel.device(address) / "physfn").symlink_to(f"../{physical}")
        return address

    # -- network configuration ------------------------------------------------------------------

    def _add(self, what: str, item) -> None:
        state = self.network.state
        self.network.state = replace(state, **{what: (*getattr(state, what), item)})

    def index(self, name: str) -> int:
        link = self.network.state.link(name)
        assert link
        return link.index

    def link(self, name: str, kind="", *, over="", into="", up=True, carrier=True, **more) -> int:
        index = len(self.network.state.links) + 2
        lower = self.index(over) if over else 0
        self._add("links", Link(index, name, kind, up=up, carrier=carrier, lower=lower, **more))
        return index

    def enslave(self, name: str, master: str) -> None:
        links = tuple(
            replace(link, master=self.index(master)) if link.name == name else link
            for link in self.network.state.links
        )
        self.network.state = replace(self.network.state, links=links)

    def address(self, name: str, text: str, prefix=24) -> None:
        self._add("addresses", Address(self.index(name), text, prefix))

    def route(self, name: str, destination="default", family=IPV4, **more) -> None:
        outs = (self.index(name),) if name else ()
        self._add(
            "routes", Route(IPV6 if ":" in destination else family, destination, outs, **more)
        )

    def item(self, what: str, item) -> None:
        self._add(what, item)

    def lookup(self, peer: str, name: str) -> None:
        found = {**self.network.state.lookups, peer: self.index(name)}
        self.network.state = replace(self.network.state, lookups=found)

    def process(self, pid: int, name: str, *targets: str) -> None:
        """A running process with descriptors that point to these targets; files are of this
        machine, and are made when they aren't there.
        """
        self.file(f"proc/{pid}/comm", name)
        for number, target in enumerate(targets):
            link = self.root / f"proc/{pid}/fd/{number}"
            link.parent.mkdir(parents=True, exist_ok=True)
            if target.startswith("/"):
                self.file(target[1:], "")
            link.symlink_to(self.root / target[1:] if target.startswith("/") else target)

    def connection(self, local: str, peer: str, inode: int, name="tcp") -> None:
        """An established IPv4 connection; both ends as `address:port`."""

        def text(end: str) -> str:
            address, _, port = end.rpartition(":")
            return f"{bytes(map(int, address.split('.')))[::-1].hex().upper()}:{int(port):04X}"

        path = self.root / f"proc/net/{name}"
        line = f" 0: {text(local)} {text(peer)} 01 0:0 0:0 0 0 0 {inode} 1\n"
        old = path.read_text() if path.exists() else "header\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(old + line)

    def machine(self) -> Machine:
        return Machine(self.tree, self.network, self.environ, 1, self._modprobe)

    def _modprobe(self, tree, name: str) -> None:
        self.loaded.append(name)
        self.driver(name)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    assert str(tmp_path) != "/"
    # A guardian has this machine's network, unless a test gives it another.
    monkeypatch.setattr(guardian, "MAIN", "raise SystemExit('no network was given')")
    return Lab(tmp_path / "machine")
