# SPDX-License-Identifier: Apache-2.0
"""`xdp:IFNAME` - a kernel interface, through AF_XDP sockets: the kernel hands over each frame as it
comes in, before its own stack sees it, and sends ours without it. `xdp:NETNS/IFNAME`: one in
another network namespace.

A program of six instructions steers the frames of each receive queue to the queue's socket. It is
attached by a link that ends with the process. Frames are received by the job alone while it runs;
what this machine sends is not seen. A job that only sends attaches no program.

The job's packet memory is the sockets' (UMEM): in zero-copy mode the NIC itself reads and writes
it. Otherwise the kernel copies each frame once.

Checksums that the other end of a veth pair left to its NIC are not there, and nothing says so:
`ethtool -K PEER tx off` ends that. VLAN tags that the NIC has taken out are put back, see `tags`.

Reference: Linux Documentation/networking/af_xdp.rst; uapi/linux/if_xdp.h.
"""

from __future__ import annotations

import socket
from typing import ClassVar

from uspnet.errors import NotSupported, Refused
from uspnet.fastpath import c, lib
from uspnet.kernel import netns, xsk
from uspnet.kernel.interface import CARRIER_S, UP, Interface, check_name
from uspnet.kernel.routes import carries_default_route
from uspnet.packets import link_types
from uspnet.packets.filter.made import Filter
from uspnet.pool import FRAME_MAX, HEADROOM
from uspnet.port import Direction, Queue
from uspnet.ports.kernel import WirePort
from uspnet.ports.xdp.binding import Place, memory_error, open_socket
from uspnet.ports.xdp.channels import Channels
from uspnet.ports.xdp.counted import count
from uspnet.ports.xdp.host import Host, wanted
from uspnet.ports.xdp.options import XdpOptions
from uspnet.ports.xdp.program import Program, Steering, ways_on
from uspnet.ports.xdp.rings import buffer_step, make_ring, revived, ring_of, unsent
from uspnet.spec import Spec
from uspnet.system.privileges import Capabilities, Capability, lacking
from uspnet.transports.locked import RAISE, check_limit

RESET_S = 40.0  # for a link to come up again
PLAIN_MTU = 3000  # bytes up to which every driver runs programs that take frames in one piece


class Xdp(WirePort, scheme="xdp"):
    """One socket for each queue of the interface, with a receive and a transmit ring."""

    help = "a kernel interface, IFNAME or NETNS/IFNAME, through AF_XDP"
    unknown: ClassVar[frozenset[str]] = frozenset()
    calls = frozenset({"sendto", "recvfrom"})
    header = 14 + 4  # bytes of Ethernet and of one VLAN tag
    options = XdpOptions()
    reports_sent = True

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.netns, name = netns.split(spec.target)
        self.ifname = check_name("xdp", name)
        self.channels: Channels | None = None
        self.numbers: tuple[int, ...] = ()  # of the interface's queues
        self.sockets: list[xsk.XdpSocket] = []
        self.receivers: set[int] = set()  # indexes of queues
        self.zero_copied: set[int] = set()  # of those whose sockets are in this mode
        self.host: Host | None = None  # whose traffic is left alone
        self.only: Filter | None = None  # of what is received; None: all
        self.program: Program | None = None
        self.member: socket.socket | None = None  # makes the interface promiscuous
        self.lent: list[c.XdpQueue] = []  # fill rings of queues that only send

    @property
    def keeps(self) -> Capabilities:
        """Return what another version needs to make sockets, and to lock their memory."""
        return frozenset({Capability.NET_RAW, Capability.IPC_LOCK})

    # -- open and attach ------------------------------------------------------------------------

    def open(self) -> None:
        """Find the interface and its queues, and make the sockets."""
        with netns.entered(self.netns):
            self._open()

    def _open(self) -> None:
        self.interface = Interface(self.ifname, self.netns)
        self.interface.check_up()
        self.check_link_type(link_types.ETHERNET)
        self.begin_watch()
        self.had_carrier = self.state == UP
        self.frame = min(self.mtu + self.header, FRAME_MAX)
        self.channels = Channels(self.name, self.interface, self.options.queues)
        self.numbers = self.channels.numbers
        self.queues = len(self.numbers)
        self.host = Host(self.name) if self.options.keep_host == "on" else None
        self.only = wanted(self.options.keep_host, self.host)
        self.buffer_step = buffer_step(self.interface.index, self.options.mode)
        for _ in self.numbers:
            busily = self.options.busy_poll
            self.sockets.append(open_socket(self.name, self.interface, busily=busily))

    @property
    def tx_queues(self) -> int:
        """Return the queues that the interface has for sending, too; one, if it has them not."""
        return max(self.channels.sending if self.channels else self.queues, 1)

    def longest_frame(self, takes: int) -> int:
        """Return the length with two more VLAN tags, which may be received but not sent."""
        return min(self.frame + 8, FRAME_MAX)

    def send_limit(self, tags: list[int]) -> tuple[int, str]:
        """Return the MTU plus header, and one 802.1Q tag that the kernel allows on top."""
        return self.mtu + 14 + 4 * (tags[:1] == [0x8100]), f"ip link set dev {self.ifname} mtu N"

    def holds(self, direction: Direction) -> int:
        """Return the slots of a ring: each may hold a buffer. One to send may have to lend as many
        again.
        """
        return self.options.ring << (direction == "tx" and self.options.mode == "zero-copy")

    def _attach_program(self) -> None:
        """Attach the program that steers frames to sockets, once they are in its map."""
        ways = ways_on(self.kernel_side(), self.name, self.options.mode)
        steering = Steering(ways, self.numbers[-1] + 1, self.mtu > PLAIN_MTU, self.only)
        with netns.entered(self.netns):
            self.program = Program(self.name, self.kernel_side(), steering)

    def _check_route(self) -> None:
        """Raise Refused where the machine could not be reached any more."""
        with netns.entered(self.netns):
            upper = carries_default_route(self.ifname)
        if upper and self.only is None:
            text = f"{self.name}: {upper} carries this machine's default route, and would receive"
            hint = f"leave it its own traffic: {self.name},keep-host=on; or use packet:"
            raise Refused(f"{text} nothing any more", f"{hint}{self.spec.target}")

    # -- queues ---------------------------------------------------------------------------------

    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make the rings of one direction of a queue, on its socket."""
        if direction == "rx":
            self._begin_receiving(index)
        elif self.channels:
            self.channels.check_sends(index)
        if direction == "tx" and self.options.mode == "zero-copy" and not self.program:
            self._attach_program()  # drivers want one, also to send
        queue = self._make_ring(direction, index)
        if direction == "tx":
            queue.q.flush = lib.xdp_flush
            queue.always_wake = not self.options.need_wakeup
        else:
            queue.always_wake = self.options.busy_poll
        return queue

    def _make_ring(self, direction: Direction, index: int) -> c.XdpQueue:
        try:
            queue = make_ring(self.sockets[index], self.pool, direction, self.options.ring)
        except OSError as error:
            raise memory_error(self.name, self.kernel_side(), error) from None
        queue.limit = self.mtu + self.header
        return queue

    def _begin_receiving(self, index: int) -> None:
        self._check_route()
        self.receivers.add(index)
        if not self.program:
            self._attach_program()
        if self.options.promisc and not self.member:
            with netns.entered(self.netns):
                self.member = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.join_promiscuous(self.member)

    def descriptors(self) -> list[int]:
        """Return the sockets."""
        return [sock.fileno() for sock in self.sockets]

    # -- run ------------------------------------------------------------------------------------

    def up(self) -> bool:
        """Return whether the interface has a carrier. Some NICs reset their link when a program is
        attached, and take long.
        """
        return self.kernel_side().running(
            RESET_S if self.program and self.had_carrier else CARRIER_S
        )

    def held(self) -> dict[str, int]:
        """Return the program. Sockets are made anew: the kernel keeps to the packet memory that was
        registered with one. Raises NotSupported.
        """
        self.check_home(self.netns)
        if self.host and self.receivers:
            self.host.check_known()
        if self.options.busy_poll:
            text = f"{self.name}: another version has no privileges to poll busily"
            raise NotSupported(text, "upgrade its loops, without --cold")
        if lacking(["CAP_IPC_LOCK"]):
            size = len(self.sockets) * self.pool.count * self.pool.size
            check_limit(self.name, size, f"take smaller rings: ring=512; {RAISE}")
        return self.program.held() if self.program else {}

    def _steering(self) -> Program:
        assert self.program, "no queue receives"  # noqa: S101 - a caller's mistake
        return self.program

    def start(self) -> None:
        """Bind the sockets, give the kernel buffers, and steer frames to them."""
        for text in self._steering().notices() if self.receivers else ():
            self.notice(text)
        if self.channels and (text := self.channels.notice()):
            self.notice(text)
        used = {queue.index for queue in self.made}
        for index in sorted(used):
            if not self.sockets[index].bound:
                self._bind(index)
        for queue in self.made:
            if queue.direction == "rx":
                lib.xdp_fill(ring_of(queue))
                self.sockets[queue.index].wake()
                number = self.numbers[queue.index]
                self._steering().set_socket(number, self.sockets[queue.index].fileno())

    def _bind(self, index: int) -> None:
        """Bind a socket to its queue, and note how."""
        sock, interface = self.sockets[index], self.kernel_side()
        senders = [queue for queue in self._senders() if queue.index == index]
        flags = self._flags(sends=bool(senders))
        place = Place(self.name, interface, self.numbers[index], flags)
        if self.options.mode == "zero-copy" and index not in self.receivers:
            self._lend(senders[0])
        why = place.bind(sock, self._ways(index))
        if zero_copy := sock.zero_copy():
            self.zero_copied.add(index)
        for queue in senders:
            ring_of(queue).zero_copy = zero_copy
        copied = "zero copy" if zero_copy else "copied once by the kernel"
        way = self.program.way if self.program and self.receivers else "transmit only"
        self.how = f"{way}, {copied}" + (f" (zero copy: {why})" if why else "")
        if self.receivers and (why := self._steering().why):
            self.how += f" (native: {why})"
        if self.receivers and (loss := self._steering().loss):
            self.how += f"; {loss}"

    def _ways(self, index: int) -> list[int]:
        """Return flags of bind, the best first. Zero copy takes the queue's buffers from the
        kernel's stack, which a port that only sends has no reason for, unless it is asked for.
        """
        if self.options.mode == "zero-copy":
            return [xsk.ZERO_COPY]
        native = self.program and self.program.way == "native" and index in self.receivers
        if self.options.mode == "auto" and native:
            return [xsk.ZERO_COPY, xsk.COPY]
        return [xsk.COPY]

    def _flags(self, *, sends: bool) -> int:
        """Return flags of bind. Frames to send begin wherever their buffer has room before them."""
        flags = xsk.NEED_WAKEUP if self.options.need_wakeup else 0
        size, longest = self.pool.size, self.longest_frame(FRAME_MAX)
        several = longest > xsk.room(size)
        several |= sends and self.frame > xsk.chunk_bytes(size) - HEADROOM
        return flags | xsk.SEVERAL_BUFFERS * several

    def _lend(self, queue: Queue) -> None:
        """Give the driver buffers for a queue that only sends, in zero-copy mode: in them it
        receives what the program passes on to the kernel's stack.
        """
        lent, sender = self._make_ring("rx", queue.index), ring_of(queue)
        lent.q.stack, lent.q.pool = sender.q.stack, sender.q.pool
        lib.xdp_fill(lent)
        self.lent.append(lent)

    def control(self) -> None:
        """Check the interface, and count what the kernel could not hand over."""
        self.extra_counters()
        self.watch()
        if any(sock.bound and sock.is_unbound() for sock in self.sockets):
            raise self.kernel_side().gone_error()
        receives, sends = bool(self.receivers), bool(self._senders())
        for text in self.channels.changes(receives, sends) if self.channels else ():
            self.notice(text)
        if self.host and self.receivers and (text := self.host.news()):
            self.notice(text)
        for queue in self._senders():
            ring_of(queue).limit = min(self.mtu + self.header, self.frame)
        super().control()

    def extra_counters(self) -> dict[str, int | None]:
        """Return what the kernel could not hand over, None: it is not known; the queues' counters
        say the same afterwards, and what else it counts.
        """
        return {"rx_missed_errors": count(self.made, self.sockets, self.zero_copied)}

    def pending(self) -> int:
        """Return the frames that the kernel has not sent yet. It is asked to go on."""
        left = 0
        for queue in self._senders():
            frames, _ = unsent(queue)
            if frames and not queue.base.closed:
                lib.xdp_flush(queue.base)
            left += frames
        return left

    def _senders(self) -> list[Queue]:
        return [queue for queue in self.made if queue.direction == "tx"]

    def revive(self) -> list[int]:
        """Make rings and owners agree; return the buffers that the kernel has."""
        return revived(self.made, self.lent)

    def finish(self) -> None:
        """Count what was missed since the last call, and what the kernel has not sent."""
        self.extra_counters()
        for queue in self._senders():
            queue.take_back(*unsent(queue), lib.DROP_PEER_LEFT)

    def stop(self) -> None:
        """Leave the frames to the kernel again."""
        for index in self.receivers if self.program else ():
            self._steering().clear_socket(self.numbers[index])
        self.extra_counters()

    def close(self) -> None:
        """Detach the program, and close the sockets."""
        if self.program:
            self.program.close()
            self.program = None
        while self.sockets:
            self.sockets.pop().close()
        for each in (self.member, self.host):
            if each:
                each.close()
        self.member = self.host = None
        self.close_interface()
