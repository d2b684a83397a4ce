# SPDX-License-Identifier: Apache-2.0
"""Users of the network, read from /proc and /sys: processes, connections, mounts, storage."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from uspnet.pci.functions import Function, folder
from uspnet.pci.sysfs import Tree
from uspnet.system import processes
from uspnet.system.processes import Process

ESTABLISHED = "01"  # of TCP; of UDP: connected
NETWORK_FILESYSTEMS = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "ceph",
        "9p",
        "afs",
        "lustre",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "fuse.ceph",
    ]
)
SOCKET_LINK = re.compile(r"^socket:\[(\d+)\]$")


@dataclass(frozen=True)
class Connection:
    """An established socket."""

    local: str
    peer: str
    inode: int


@dataclass(frozen=True)
class Storage:
    """A file system or block device on the network. `server` is an address, or None if only a name
    is known.
    """

    kind: str
    what: str
    server: str | None


def owners_of_sockets(tree: Tree, inodes: set[int]) -> dict[int, Process]:
    """Return the process of each socket, by inode; sockets of the kernel have none."""
    owners: dict[int, Process] = {}
    if not inodes:
        return owners
    for pid in processes.pids(tree.root):
        for _, name in processes.links(pid, tree.root):
            match = SOCKET_LINK.match(name)
            if match and (inode := int(match[1])) in inodes:
                owners.setdefault(inode, processes.process(pid, tree.root))
    return owners


def device_nodes(tree: Tree, function: Function) -> list[str]:
    """Return the device nodes and sysfs files by which a process drives this function."""
    where = folder(function.address)
    nodes = [f"dev/{name}" for name in tree.names(f"{where}/uio")]
    if function.group and function.driver == "vfio-pci":
        nodes += [f"dev/vfio/{function.group}", f"dev/vfio/noiommu-{function.group}"]
    if function.vfio_node:
        nodes.append(function.vfio_node)
    nodes += [f"{where}/{name}" for name in tree.names(where) if name.startswith("resource")]
    return [tree.path(name) for name in nodes]


def users_of_device(tree: Tree, function: Function) -> list[Process]:
    """Return the processes that drive the function from user space now."""
    return processes.users_of(device_nodes(tree, function), tree.root)


def signal_users(tree: Tree, function: Function, number: signal.Signals) -> list[Process]:
    """Send a signal to the processes that drive the function. Returns who got it."""
    return processes.signal_users(device_nodes(tree, function), number, tree.root)


def packet_sockets(tree: Tree, index: int) -> set[int]:
    """Return the inodes of the AF_PACKET sockets that are bound to an interface."""
    found = set()
    for line in tree.lines("proc/net/packet")[1:]:
        parts = (
            line.split()
        )  # sk, references, type, protocol, interface, running, memory, user, inode
        if len(parts) >= 9 and parts[4] == str(index):
            found.add(int(parts[8]))
    return found


def connections(tree: Tree) -> list[Connection]:
    """Return the established TCP and connected UDP sockets of both families."""
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in tree.lines(f"proc/net/{name}")[1:]:
            parts = line.split()
            if len(parts) > 9 and parts[3] == ESTABLISHED:
                local, peer = (_proc_address(part) for part in parts[1:3])
                found.append(Connection(local, peer, int(parts[9])))
    return found


def _proc_address(text: str) -> str:
    """Convert `0100007F:0016` to an address: each 32-bit word is in host byte order."""
    raw = bytes.fromhex(text.partition(":")[0])
    words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
    address = ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def ssh_peers(tree: Tree, environ: Mapping[str, str], pid: int) -> list[str]:
    """Return the addresses that this login comes from. `sudo` removes SSH_CONNECTION, so the
    environment of the parent processes is read, too.
    """
    peers = []
    found = environ.get("SSH_CONNECTION") or environ.get("SSH_CLIENT")
    while found is None and pid > 1:
        variables = (tree.text(f"proc/{pid}/environ") or "").split("\0")
        named = dict(text.split("=", 1) for text in variables if "=" in text)
        found = named.get("SSH_CONNECTION") or named.get("SSH_CLIENT")
        status = tree.lines(f"proc/{pid}/status")
        pid = next((int(line.split()[1]) for line in status if line.startswith("PPid:")), 0)
    if found and (address := literal(found.split()[0])):
        peers.append(address)
    return peers


def literal(text: str) -> str | None:
    """Return the text as an address without its zone; None if it is none."""
    try:
        return str(ip_address(text.strip("[]").partition("%")[0]))
    except ValueError:
        return None


def storage(tree: Tree) -> list[Storage]:
    """Return the mounts, iSCSI sessions and NVMe controllers that use the network."""
    return [*_mounts(tree), *_iscsi(tree), *_nvme(tree)]


def _mounts(tree: Tree) -> Iterator[Storage]:
    for line in tree.lines("proc/mounts"):
        parts = line.split()
        if len(parts) < 4 or parts[2] not in NETWORK_FILESYSTEMS:
            continue
        source, where, kind, options = parts[:4]
        given = dict(text.split("=", 1) for text in options.split(",") if "=" in text)
        if kind == "9p" and given.get("trans", "tcp") not in {"tcp", "rdma"}:
            continue  # shared memory of a virtual machine: no network
        yield Storage("mount", f"{where} ({kind})", literal(given.get("addr", "")) or _host(source))


def _host(source: str) -> str | None:
    """Return the server in `server:/path`, `//server/share` or `10.0.0.1:6789,…:/`; None for a
    name.
    """
    if source.startswith("//"):
        return literal(source[2:].partition("/")[0])
    if source.startswith("["):
        return literal(source[1:].partition("]")[0])
    host = source.partition(",")[0].rpartition("@")[2]
    return literal(host) or literal(host.partition(":")[0])


def _iscsi(tree: Tree) -> Iterator[Storage]:
    for session in tree.names("sys/class/iscsi_session"):
        name = tree.text(f"sys/class/iscsi_session/{session}/targetname") or session
        number = session.removeprefix("session")
        connection = f"sys/class/iscsi_connection/connection{number}:0"
        server = tree.text(f"{connection}/address") or tree.text(f"{connection}/persistent_address")
        yield Storage("iscsi", f"iSCSI session {name}", literal(server or ""))


def _nvme(tree: Tree) -> Iterator[Storage]:
    for name in tree.names("sys/class/nvme"):
        if tree.text(f"sys/class/nvme/{name}/transport") in {"tcp", "rdma"}:
            address = tree.text(f"sys/class/nvme/{name}/address") or ""
            given = dict(text.split("=", 1) for text in address.split(",") if "=" in text)
            yield Storage(
                "iscsi", f"NVMe over the network /dev/{name}", literal(given.get("traddr", ""))
            )


def family_of(address: str) -> int:
    """Return AF_INET or AF_INET6."""
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
