# SPDX-License-Identifier: Apache-2.0
"""`packet:IFNAME` - any kernel interface, through AF_PACKET sockets.

Like a NIC of one's own, the port receives every frame that comes in on the wire (`promisc=on`)
and not what this machine sends (`outgoing=off`). The kernel still handles the frames too. All of
it lives in sockets, so the kernel undoes it however the process ends. `packet:NETNS/IFNAME` is an
interface in another network namespace: one of ip-netns(8) or a container runtime, by its name, or
that of a process, by its id.

What a stack left to its NIC (the other end of a veth pair does) is made good: checksums are filled
in, and frames that were never cut up, or that the kernel joined (GRO), are cut into those that go
over a wire. Joined frames inside of a tunnel, or of more than 64 KiB, can't be: they are dropped
as `joined`, and `ethtool -K IFNAME gro off`, and `tso off gso off` at the sender, ends it.

Interfaces without Ethernet are refused; `ethernet=add` puts a header in front of the packets of
those that carry plain IP (TUN, WireGuard, PPP), and takes it off what is sent there.

A quiet receiver gets its packets up to a millisecond late, see fastpath/rings/packet.c.

Reference: packet(7), and Linux Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import ClassVar

from uspnet.errors import NoMemory, NotPermitted, NotSupported, Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.kernel import netdev, netns
from uspnet.kernel.interface import Interface, check_name
from uspnet.mapping import Mapping
from uspnet.memory import memory_available, new
from uspnet.packets import link_types
from uspnet.packets.frames import mac_bytes
from uspnet.pool import FRAME_MAX
from uspnet.port import COUNTER, Direction
from uspnet.ports.kernel import SOL_PACKET, WirePort
from uspnet.spec import Options, Spec, choice, integer, option, switch
from uspnet.system import kept

PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 5, 6, 10
PACKET_VNET_HDR, PACKET_FANOUT = 15, 18
PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 20, 23
TPACKET_V3 = 2
FANOUT = {"hash": 0, "cpu": 2, "qm": 5}
FANOUT_UNIQUE_ID = 0x2000
BPF_RET = 0x06
ETH_P_ALL = 0x0003
SO_SNDBUFFORCE, SO_ATTACH_FILTER, SO_DETACH_FILTER = 32, 26, 27

BLOCK = 128 << 10  # bytes: one of the longest packets that the kernel joins, and several others
RETIRE_MS = 1  # a block that isn't full is handed over after this
REST_NS = 20_000  # between two looks at a block that isn't full
SEND_BUFFER = 4 << 20  # bytes that may wait in the kernel for the NIC


@dataclass(frozen=True)
class PacketOptions(Options):
    """Options of `packet:`."""

    queues: int = option(integer(1, 64), 1, "queue pairs, 1 to 64")
    fanout: str = option(
        choice(*FANOUT), "hash", "queue selection (PACKET_FANOUT): hash, cpu or qm"
    )
    promisc: bool = option(switch, True, "on: receive frames for other machines too")
    outgoing: bool = option(switch, False, "on: also receive what this machine sends")
    ring: int = option(integer(1, 1024), 16, "MiB of receive ring per queue, 1 to 1024")
    ethernet: str = option(
        choice("off", "add"), "off", "add: put an Ethernet header before plain IP, as TUN has it"
    )
    dst: bytes = option(mac_bytes, bytes(6), "ethernet=add to this address")
    src: bytes = option(mac_bytes, bytes(6), "ethernet=add from this address")


class Packet(WirePort, scheme="packet"):
    """Sockets bound to one interface: one with a ring a receive queue, one a transmit queue."""

    help = "a kernel interface, IFNAME or NETNS/IFNAME, through AF_PACKET"
    unknown: ClassVar[frozenset[str]] = frozenset()
    stamps = "CLOCK_REALTIME, for each packet by the kernel when it was received (TPACKET_V3)"
    calls = frozenset({"sendmmsg", "sendto"})  # sendto: an interface of IP
    header = 14 + 4  # bytes of Ethernet and of one VLAN tag
    options = PacketOptions()

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.queues = self.options.queues
        self.netns, name = netns.split(spec.target)
        self.ifname = check_name("packet", name)
        self.ip = False  # do the interface's packets begin with IP?
        self.sockets: dict[Direction, list[socket.socket]] = {"rx": [], "tx": []}
        self.rings: list[Mapping] = []
        self.group: int | None = None  # of fan-out
        self._kept: dict[str, socket.socket] = {}  # of the version before, to be used again
        self.faster = ""  # the port to hint at when packets are missed

    def open(self) -> None:
        """Find the interface, and check that it may be opened."""
        self.interface = Interface(self.ifname, self.netns)
        self.interface.check_up()
        self._check_link_type(self.interface.link_type)
        self.begin_watch()
        self.frame = min(self.mtu + self.header, FRAME_MAX)
        names = (f"{way} {index}" for way in ("rx", "tx") for index in range(self.queues))
        held = {name: kept.take(f"{self.kept_as} {name}") for name in names}
        self._kept = {name: socket.socket(fileno=fd) for name, fd in held.items() if fd >= 0}
        if not self._kept:
            self._socket().close()
        with netns.entered(self.netns):
            offers = netdev.features(self.interface.index).get(self.interface.index)
        if offers and offers.native and not self.ip:
            self.faster = f"xdp:{self.interface.place}"

    def longest_frame(self, takes: int) -> int:
        """Return the length with two more VLAN tags, which may be received but not sent."""
        return min(self.frame + 8, FRAME_MAX)

    def _check_link_type(self, link_type: int) -> None:
        """Refuse interfaces whose frames are not Ethernet, or IP with `ethernet=add`."""
        self.ip = self.options.ethernet == "add"
        if self.ip and link_type in link_types.ETHERNET:
            raise Usage(f"{self.name}: the interface is Ethernet already", "drop ethernet=add")
        hint = ""
        if link_type in link_types.IP:
            hint = f"put Ethernet headers in front: {self.name},ethernet=add"
        self.check_link_type(link_types.IP if self.ip else link_types.ETHERNET, hint)

    def send_limit(self, tags: list[int]) -> tuple[int, str]:
        """Return the MTU plus header, and one 802.1Q tag that the kernel allows on top."""
        return self.mtu + 14 + 4 * (tags[:1] == [0x8100]), f"ip link set dev {self.ifname} mtu N"

    def _socket(self) -> socket.socket:
        """Return a raw socket that receives nothing yet."""
        try:
            with netns.entered(self.netns):
                return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            raise NotPermitted(
                f"{self.name}: raw sockets are not permitted",
                "run as root, or with CAP_NET_RAW: "
                "setpriv --inh-caps +net_raw --ambient-caps +net_raw",
            ) from None
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise NoMemory(f"{self.name}: {error.strerror}", "see: ulimit -n") from None
            raise NotSupported(f"{self.name}: AF_PACKET: {error.strerror}") from None

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make a queue with a socket; a receive queue with a ring shared with the kernel."""
        held = self._kept.pop(f"{direction} {index}", None)
        sock = held or self._socket()
        self.sockets[direction].append(sock)
        queue = new("struct packet_queue *", {"fd": sock.fileno()})
        queue.q.burst = ffi.addressof(lib, f"packet_{direction}")
        if self.ip:
            queue.ifindex = self.kernel_side().index
            ffi.memmove(queue.macs, self.options.dst + self.options.src, 12)
            if direction == "tx":
                queue.q.burst = lib.packet_ip_tx
        queue.q.wake_fd = sock.fileno()
        if direction == "tx":
            if not held:
                self._set_up_tx(sock)
            return queue
        if held:
            sock.setsockopt(SOL_PACKET, PACKET_RX_RING, bytes(28))  # the old one is freed
            self._map_ring(sock, queue)
        else:
            self._set_up_rx(sock, queue)
        return queue

    def held(self) -> dict[str, int]:
        """Return the sockets of all queues; they receive nothing between `stop` and `start`. Raises
        NotSupported in another network namespace.
        """
        self.check_home(self.netns)
        ways: tuple[Direction, Direction] = ("rx", "tx")
        made = {way: [queue for queue in self.made if queue.direction == way] for way in ways}
        pairs = [pair for way in ways for pair in zip(made[way], self.sockets[way], strict=True)]
        return {f"{self.kept_as} {q.direction} {q.index}": sock.fileno() for q, sock in pairs}

    def _set_up_tx(self, sock: socket.socket) -> None:
        sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        except PermissionError:  # without CAP_NET_ADMIN, the system's limit does
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._bind(sock, 0)

    def _bind(self, sock: socket.socket, protocol: int) -> None:
        if error := lib.packet_bind(sock.fileno(), self.kernel_side().index, protocol):
            raise OSError(error, os.strerror(error), self.ifname)

    def _set_up_rx(self, sock: socket.socket, queue: c.PacketQueue) -> None:
        """Set up a receive socket. A filter keeps everything out until `start`: a socket that has
        not joined the fan-out group would receive the other sockets' packets.
        """
        self._filter(sock)
        if not self.options.outgoing:
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._map_ring(sock, queue)
        self._bind(sock, ETH_P_ALL)
        if self.options.promisc:
            self.join_promiscuous(sock)
        if self.queues > 1:
            self._join(sock)

    def _map_ring(self, sock: socket.socket, queue: c.PacketQueue) -> None:
        """Have the kernel make the receive ring, and map it."""
        blocks = (self.options.ring << 20) // BLOCK
        want = self.queues * self.options.ring << 20
        if not self.rings and want > memory_available():  # the OOM killer would end a process
            raise NoMemory(
                f"{self.name}: {want >> 20:,} MiB of rings are more than there is",
                "make them smaller or fewer: ring=, queues=",
            )
        # struct tpacket_req3; the frame size matters to the kernel's sanity checks alone
        request = struct.pack("7I", BLOCK, blocks, BLOCK, blocks, RETIRE_MS, 0, 0)
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        try:
            sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            ring = Mapping(os.dup(sock.fileno()), blocks * BLOCK)
        except OSError as error:
            raise NoMemory(
                f"{self.name}: a ring of {self.options.ring} MiB: {error.strerror}",
                "make it smaller: ring=1",
            ) from None
        self.rings.append(ring)
        queue.ring, queue.block_size, queue.blocks = ring.base, BLOCK, blocks
        queue.poll_ns = REST_NS

    def _filter(self, sock: socket.socket) -> None:
        """Attach a BPF program that accepts no packet: one instruction, `ret 0`."""
        code = ffi.from_buffer(struct.pack("=HBBI", BPF_RET, 0, 0, 0))
        program = struct.pack("@HP", 1, int(ffi.cast("uintptr_t", code)))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def _join(self, sock: socket.socket) -> None:
        """Add the socket to the port's fan-out group. The kernel picks an unused group number."""
        kind = FANOUT[self.options.fanout]
        if self.group is None:
            sock.setsockopt(SOL_PACKET, PACKET_FANOUT, (kind | FANOUT_UNIQUE_ID) << 16)
            self.group = sock.getsockopt(SOL_PACKET, PACKET_FANOUT) & 0xFFFF
        else:
            sock.setsockopt(SOL_PACKET, PACKET_FANOUT, kind << 16 | self.group)

    def descriptors(self) -> list[int]:
        """Return the sockets."""
        return [sock.fileno() for sock in (*self.sockets["rx"], *self.sockets["tx"])]

    def start(self) -> None:
        """Detach the filters."""
        for sock in self.sockets["rx"]:
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    def control(self) -> None:
        """Check the interface, since a ring does not show that it went down or away. Clears socket
        errors, which would wake a sleeping worker again and again.
        """
        self._count_missed()
        self._hint()
        self.watch()
        for sock in self.sockets["rx"]:
            if lib.packet_bound(sock.fileno()) <= 0:  # back by its old number, not to us
                raise self.kernel_side().gone_error()
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        super().control()

    def _count_missed(self) -> None:
        """Add the packets that found the ring full since the last call: the kernel resets its
        counter when it is read.
        """
        receivers = [queue for queue in self.made if queue.direction == "rx"]
        for queue, sock in zip(receivers, self.sockets["rx"], strict=False):
            told = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)  # struct tpacket_stats_v3
            counters = queue.counters
            counters.missed = (counters.missed + struct.unpack("3I", told)[1]) % COUNTER

    def _hint(self) -> None:
        """Name the faster port as soon as packets are missed, once."""
        if self.faster and any(queue.counters.missed for queue in self.made):
            text = f"{self.name}: packets are missed; {self.faster} is faster, and takes them from"
            self.notice(f"{text} the kernel's own stack unless keep-host= says otherwise")
            self.faster = ""

    def revive(self) -> list[int]:
        """Go on with the next packet of the current block. Sockets hold no buffers."""
        for queue in self.made:
            if queue.direction == "rx":
                lib.packet_revive(ffi.cast("struct packet_queue *", queue.c))
        return []

    def finish(self) -> None:
        """Count what was missed since the last call."""
        self._count_missed()

    def stop(self) -> None:
        """Attach the filters again."""
        for sock in self.sockets["rx"]:
            self._filter(sock)
        self._count_missed()

    def close(self) -> None:
        """Close the sockets, which also ends promiscuous mode and the fan-out group."""
        while self.rings:
            self.rings.pop().close()
        for sock in (*self.sockets["rx"], *self.sockets["tx"], *self._kept.values()):
            sock.close()
        self.sockets = {"rx": [], "tx": []}
        self.group = None
        self.close_interface()
