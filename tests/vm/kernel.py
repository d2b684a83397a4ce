# SPDX-License-Identifier: Apache-2.0
"""Kernels for the guest, and the initramfs that boots them.

`lab` is a kernel with everything built in, iommufd and no-IOMMU mode among it: the file that
USPNET_VM_KERNEL names, else the one in the folder `shared/vm` beside the checkout.
`debian` is Debian's stock kernel, with its modules: an installed one, else one that was fetched,
without installing it, by running this file: `python tests/vm/kernel.py`.
`recent` is one of Debian's whose drivers do AF_XDP's zero copy; `python tests/vm/kernel.py recent`.
"""

from __future__ import annotations

import gzip
import itertools
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uspnet.ports.qemu import models

ROOT = Path(__file__).resolve().parents[2]
LAB = "bzImage-6.12-vfio"
NO_IOMMUFD = "no kernel with iommufd"
FETCHED = ROOT / "build" / "vm-kernel"
RECENT = ROOT / "build" / "vm-kernel-recent"
ZERO_COPY = (6, 14)  # the first Linux whose igb and virtio_net have it
MODULES = (  # noqa: SIM905 - easier to read
    "virtio_pci 9p 9pnet_virtio overlay virtio_console "  # the guest itself
    "af_packet veth tun dummy bridge 8021q bonding vrf macvlan "
    "vfio_iommu_type1 vfio_pci uio_pci_generic"
).split() + [nic.models[name].kernel_module for name, nic in models().items()]
DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
NEEDED = ("fs/9p", "drivers/vfio")  # folders of modules
MODULE_FOLDERS = ("usr/lib/modules", "lib/modules")  # Debian 13's packages, and older ones'
BUSYBOX = ("/bin/busybox", "/usr/bin/busybox")


class Missing(Exception):
    """Something that the guest needs is not there; the text says what to install."""


@dataclass(frozen=True)
class Kernel:
    """A bootable image; `modules` is the folder of its modules, None when all are built in."""

    image: Path
    modules: Path | None = None


def lab_kernel() -> Kernel:
    """The one with everything built in."""
    named = os.environ.get("USPNET_VM_KERNEL")
    for path in [Path(named)] if named else [ROOT.parent / "shared" / "vm" / LAB]:
        if path.is_file():
            return Kernel(path)
    raise Missing(f"{NO_IOMMUFD}: USPNET_VM_KERNEL, or shared/vm/{LAB}")


def debian_kernels(*roots: Path) -> list[tuple[str, Kernel]]:
    """Those that have VFIO and 9p as modules, each with its release."""
    found = [
        (modules.parent.name, Kernel(image, modules))
        for root, folder in itertools.product(roots, MODULE_FOLDERS)
        for modules in root.glob(f"{folder}/*-amd64/kernel")
        for image in (root / f"boot/vmlinuz-{modules.parent.name}", modules.parent / "vmlinuz")
        if image.is_file()
    ]
    return [each for each in found if all((each[1].modules / name).is_dir() for name in NEEDED)]


def debian_kernel() -> Kernel:
    """The newest one."""
    found = [kernel for _, kernel in debian_kernels(FETCHED, Path("/"))]
    if not found:
        raise Missing("no Debian kernel: run python tests/vm/kernel.py, which fetches one")
    return max(found, key=lambda kernel: kernel.image.stat().st_mtime)


def recent_kernel() -> Kernel:
    """The latest one, if its drivers do AF_XDP's zero copy."""
    found = [
        (version, kernel)
        for release, kernel in debian_kernels(RECENT, FETCHED, Path("/"))
        if (version := tuple(map(int, re.findall(r"\d+", release)[:2]))) >= ZERO_COPY
    ]
    if not found:
        why = "no Debian kernel whose drivers do AF_XDP's zero copy"
        raise Missing(f"{why}: run python tests/vm/kernel.py recent, which fetches one")
    return max(found, key=lambda pair: pair[0])[1]


KERNELS = {"lab": lab_kernel, "debian": debian_kernel}


def read_module(path: Path) -> bytes:
    """A module's bytes, decompressed."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def load_order(folder: Path) -> dict[str, Path]:
    """The modules that the guest loads, by name, each after those it depends on."""
    paths = {p.name.split(".")[0].replace("-", "_"): p for p in folder.rglob("*.ko*")}
    order: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in order or name not in paths:  # what is not there is built in
            return
        if needs := DEPENDS.search(read_module(paths[name])):
            for each in filter(None, needs[1].decode().split(",")):
                add(each.replace("-", "_"))
        order[name] = paths[name]

    for name in filter(None, MODULES):
        add(name)
    return order


def cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """An archive in the kernel's initramfs format ("newc"): path → mode and contents."""
    out = bytearray()
    for inode, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        path = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def initramfs(kernel: Kernel) -> bytes:
    """BusyBox, the init script, and the kernel's modules."""
    busybox = next((Path(p) for p in BUSYBOX if Path(p).is_file()), None)
    if not busybox:
        raise Missing("no BusyBox: apt-get install busybox-static")
    folder, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    files = {
        **dict.fromkeys(("bin", "dev", "modules", "lower", "upper", "new"), (folder, b"")),
        "bin/busybox": (program, busybox.read_bytes()),
        "init": (program, Path(__file__).with_name("init.sh").read_bytes()),
    }
    order = load_order(kernel.modules) if kernel.modules else {}
    for number, (name, path) in enumerate(order.items()):
        files[f"modules/{number:03}-{name}"] = (program, read_module(path))
    return gzip.compress(cpio(files), 1)


def download(folder: Path) -> None:
    """Downloads the package of the kernel of this Debian."""
    shown = subprocess.run(
        ["apt-cache", "depends", "linux-image-amd64"], check=True, capture_output=True, text=True
    ).stdout
    package = re.search(r"Depends: (linux-image-\S+)", shown)
    if not package:
        raise SystemExit("apt-cache knows no linux-image-amd64: run apt-get update")
    subprocess.run(["apt-get", "download", package[1]], check=True, cwd=folder)


def download_recent(folder: Path) -> None:
    """Downloads the packages of a recent one."""
    subprocess.run([ROOT / "tools" / "kernel.sh", folder], check=True)


def fetch(target: Path, get: Callable[[Path], None]) -> None:
    """Has a kernel's packages downloaded, and keeps the image and the modules that are loaded."""
    with tempfile.TemporaryDirectory() as folder:
        get(Path(folder))
        tree = Path(folder, "tree")
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
        shutil.rmtree(target, ignore_errors=True)
        modules = next(tree / folder for folder in MODULE_FOLDERS if (tree / folder).is_dir())
        images = [*tree.glob("boot/vmlinuz-*"), *modules.glob("*/vmlinuz")]
        for path in [*images, *load_order(modules).values()]:
            copy = target / path.relative_to(tree)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


FETCH = {
    "debian": (debian_kernel, FETCHED, download),
    "recent": (recent_kernel, RECENT, download_recent),
}


if __name__ == "__main__":
    find, *how = FETCH[(sys.argv[1:] or ["debian"])[0]]
    try:
        find()
    except Missing:
        fetch(*how)
    sys.stdout.write(f"{find().image}\n")
