# SPDX-License-Identifier: Apache-2.0
"""PCI functions as sysfs describes them: identity, driver, interfaces, IOMMU group, SR-IOV."""

from __future__ import annotations

from dataclasses import dataclass, field

from uspnet.errors import NoDevice, Refused
from uspnet.pci.config import NETWORK_CLASS
from uspnet.pci.sysfs import Tree

DEVICES = "sys/bus/pci/devices"
DRIVERS = "sys/bus/pci/drivers"
PROBE = "sys/bus/pci/drivers_probe"
BRIDGE_CLASS = 0x06
# Kernel drivers that give a device to user space.
USER_DRIVERS = frozenset({"vfio-pci", "uio_pci_generic", "igb_uio"})
# Drivers of the other functions of an IOMMU group that VFIO may open (kernel: vfio_driver_allowed).
GROUP_DRIVERS = frozenset({"vfio-pci", "pci-stub", "pcieport"})


@dataclass(frozen=True)
class Function:
    """One PCI function. Addresses are full (`0000:03:00.0`), lists are sorted."""

    address: str
    vendor: int = 0
    device: int = 0
    class_code: int = 0  # 24 bits: class, subclass, programming interface
    driver: str | None = None
    override: str | None = None  # driver_override: the only driver that may bind
    numa: int | None = None
    group: str | None = None  # the IOMMU group's number
    members: tuple[str, ...] = ()  # the other functions of that group
    physfn: str | None = None  # of a virtual function: its physical one
    vfs: tuple[str, ...] = ()  # of a physical function: its virtual ones
    interfaces: tuple[str, ...] = field(default=())
    vfio_node: str | None = None  # dev/vfio/devices/vfioN, where the kernel has such
    reset_methods: tuple[str, ...] = ()

    @property
    def is_network(self) -> bool:
        """Whether it is a NIC."""
        return self.class_code >> 16 == NETWORK_CLASS

    @property
    def is_bridge(self) -> bool:
        """Whether it is a bridge, whose kernel driver does no DMA of its own."""
        return self.class_code >> 16 == BRIDGE_CLASS

    @property
    def ids(self) -> str:
        """Vendor and device id, `8086:10d3`."""
        return f"{self.vendor:04x}:{self.device:04x}"

    @property
    def in_user_space(self) -> bool:
        """Whether it is bound to a driver that gives it to user space."""
        return self.driver in USER_DRIVERS


def folder(address: str) -> str:
    """Return the function's folder in sysfs."""
    return f"{DEVICES}/{address}"


def current_driver(tree: Tree, address: str) -> str | None:
    """Return the kernel driver that the function is bound to; None if it is unbound."""
    return tree.target(f"{folder(address)}/driver")


def missing(address: str) -> NoDevice:
    """Return the error for a function that does not exist."""
    return NoDevice(f"there is no PCI device {address}", "see: uspnet devices")


def class_of(tree: Tree, address: str) -> int | None:
    """Return the function's class, subclass and programming interface (24 bits); None if there is
    no such function.
    """
    text = tree.text(f"{folder(address)}/class")
    return None if text is None else _number(text, 0)


def ids_of(tree: Tree, address: str) -> tuple[int, int]:
    """Return the function's vendor and device ids; zeros if there is no such function."""
    where = folder(address)
    vendor, device = (_number(tree.text(f"{where}/{name}"), 0) for name in ("vendor", "device"))
    return vendor, device


def group_node(tree: Tree, address: str) -> str | None:
    """Return the name of the device node of the function's IOMMU group; None without a group. It
    begins with `noiommu-` where no IOMMU protects the memory.
    """
    group = tree.target(f"{folder(address)}/iommu_group")
    if group is None:
        return None
    bare = tree.text(f"sys/kernel/iommu_groups/{group}/name") == "vfio-noiommu"
    return f"dev/vfio/{'noiommu-' if bare else ''}{group}"


def vfio_node(tree: Tree, address: str) -> str | None:
    """Return the name of the function's VFIO character device; None if it has none.

    Since Linux 6.0 there is a folder in sysfs also where the kernel has no character devices.
    """
    where = f"{folder(address)}/vfio-dev"
    found = (name for name in tree.names(where) if tree.exists(f"{where}/{name}/dev"))
    return next((f"dev/vfio/devices/{name}" for name in found), None)


def override_of(tree: Tree, address: str) -> str | None:
    """Return the function's driver_override; None if there is none."""
    text = tree.text(f"{folder(address)}/driver_override")
    return text if text and text != "(null)" else None


def interfaces_of(tree: Tree, address: str) -> tuple[str, ...]:
    """Return all kernel interfaces of the function, sorted: those of several ports, of a virtio
    child, and representors.
    """
    own = tree.real(folder(address))
    found, switches = set(), set()
    for name in tree.names("sys/class/net"):
        device = f"sys/class/net/{name}/device"
        if tree.exists(device) and f"{tree.real(device)}/".startswith(f"{own}/"):
            found.add(name)
            switches.add(tree.text(f"sys/class/net/{name}/phys_switch_id"))
    for name in tree.names("sys/class/net"):
        # Representors of VFs carry the switch id of the function that they belong to.
        switch = tree.text(f"sys/class/net/{name}/phys_switch_id")
        if switch and switch in switches:
            found.add(name)
    return tuple(sorted(found))


def function(tree: Tree, address: str) -> Function:
    """Read all facts of one function. Raises NoDevice."""
    where = folder(address)
    if not tree.exists(where):
        raise missing(address)
    group = tree.target(f"{where}/iommu_group")
    others = tree.names(f"{where}/iommu_group/devices") if group else []
    numa = _number(tree.text(f"{where}/numa_node"), -1)
    vfs = (
        tree.target(f"{where}/{name}") for name in tree.names(where) if name.startswith("virtfn")
    )
    vendor, device = ids_of(tree, address)
    return Function(
        address,
        vendor=vendor,
        device=device,
        class_code=class_of(tree, address) or 0,
        driver=current_driver(tree, address),
        override=override_of(tree, address),
        numa=numa if numa >= 0 else None,
        group=group,
        members=tuple(other for other in others if other != address),
        physfn=tree.target(f"{where}/physfn"),
        vfs=tuple(sorted(vf for vf in vfs if vf)),
        interfaces=interfaces_of(tree, address),
        vfio_node=vfio_node(tree, address),
        reset_methods=tuple((tree.text(f"{where}/reset_method") or "").split()),
    )


def scan(tree: Tree) -> list[Function]:
    """Return every network function of the machine."""
    found = []
    for address in tree.names(DEVICES):
        if (class_of(tree, address) or 0) >> 16 == NETWORK_CLASS:
            try:
                found.append(function(tree, address))
            except NoDevice:  # removed since the folder was listed
                continue
    return found


def check_nic(found: Function) -> None:
    """Raise Refused for a disk, a bridge or anything else that is not a network card."""
    if not found.is_network:
        kind = f"class {found.class_code:06x}"
        raise Refused(f"{found.address} is not a network card ({kind})", "see: uspnet devices")


def _number(text: str | None, otherwise: int) -> int:
    try:
        return int(text or "", 0)
    except ValueError:
        return otherwise
