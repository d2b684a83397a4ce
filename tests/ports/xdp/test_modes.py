# SPDX-License-Identifier: Apache-2.0
"""xdp: what a port makes of what an interface's driver offers."""

from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace

import pytest

from tests.support.identity import answer
from uspnet.errors import Busy, DeviceFault, NoMemory, NotSupported
from uspnet.kernel import netdev, xsk
from uspnet.kernel.interface import Interface
from uspnet.pool import HEADROOM
from uspnet.ports.registry import make_port
from uspnet.ports.xdp.binding import Place
from uspnet.ports.xdp.program import ways_on
from uspnet.ports.xdp.tags import LOST
from uspnet.telemetry import UNKNOWN


class Socket:
    """Is bound as the flags of `works` say, after so many attempts that find the queue busy."""

    def __init__(self, works, error, busy=0):
        self.works, self.error, self.busy, self.asked = works, error, busy, []

    def bind(self, index, queue, flags):
        self.asked.append(flags)
        number = errno.EBUSY if len(self.asked) <= self.busy else self.error
        if flags != self.works or number == errno.EBUSY:
            raise OSError(number, os.strerror(number))


@pytest.fixture
def place():
    interface = Interface("lo")
    yield Place("xdp:lo", interface, 0, xsk.NEED_WAKEUP)
    interface.close()


BEST, NEXT = xsk.ZERO_COPY, xsk.COPY


def test_the_best_way_that_works_is_taken_and_why(place):
    need = xsk.NEED_WAKEUP
    sock = Socket(BEST | need, 0, busy=3)
    assert place.bind(sock, [BEST, NEXT]) == ""
    assert sock.asked == [BEST | need] * 4
    for number in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOMEM, errno.ENOENT):
        sock = Socket(NEXT | need, number)
        assert place.bind(sock, [BEST, NEXT]) == os.strerror(number)
        assert sock.asked == [BEST | need, NEXT | need]


@pytest.mark.parametrize(
    ("number", "ways", "kind", "hint"),
    [
        (errno.ENETDOWN, [BEST, NEXT], DeviceFault, "ip link set lo up"),
        (errno.ENODEV, [BEST, NEXT], DeviceFault, "ip link"),
        (errno.EINVAL, [BEST], NotSupported, "mode=copy"),
        (errno.EINVAL, [NEXT], NotSupported, "packet:lo"),
        (errno.EBUSY, [BEST, NEXT], Busy, "ss -p -A xdp"),
    ],
)
def test_where_none_works_the_hint_is_that_of_the_last(
    place, monkeypatch, number, ways, kind, hint
):
    monkeypatch.setattr("uspnet.ports.xdp.binding.BIND_S", 0.02)
    with pytest.raises(kind) as caught:
        place.bind(Socket(-1, number), ways)
    assert hint in caught.value.hint


def test_buffers_have_room_for_what_drivers_of_intel_take(namespace, monkeypatch):
    """Where zero copy is possible, they are chunks of 4 KiB, whatever the frames' length."""
    namespace.veth("a", "b")
    sizes = {}
    offers = netdev.features
    possible = netdev.Features(native=True, zero_copy=True, pieces=False)
    with namespace.entered():
        for name, told in (("here", offers), ("there", lambda index: {index: possible})):
            monkeypatch.setattr(netdev, "features", told)
            for mode in ("auto", "copy", "generic", "zero-copy"):
                port = make_port(f"xdp:a,mode={mode}")
                port.open()
                sizes[name, mode] = port.buffer_step
                port.close()
    assert {key for key, size in sizes.items() if size == 4096} == {
        ("here", "zero-copy"), ("there", "zero-copy"), ("there", "auto"),
    }  # fmt: skip
    assert set(sizes.values()) == {2048, 4096}


def test_the_way_is_told_and_why_not_a_better_one(namespace):
    namespace.veth("a", "b")
    words = ("pktgen", "xdp:a", "--rx-port", "xdp:b,busy-poll=on", "--count", 1000, "--json")
    result = answer(namespace.uspnet(*words).stdout)
    assert (result["sent"], result["received"]) == (1000, 1000)
    why = os.strerror(errno.EOPNOTSUPP)
    hows = [port["how"].removesuffix(f"; {LOST}") for port in result["ports"]]  # before Linux 6.8
    assert hows == [
        "transmit only, copied once by the kernel",
        f"native, copied once by the kernel (zero copy: {why})",
    ]


def test_why_it_is_not_the_drivers_own_is_told(namespace, drive):
    namespace.ip("link", "add", "name", "d", "up", "type", "bridge")
    why = os.strerror(errno.EOPNOTSUPP)
    assert drive("xdp:d").port.how == f"generic, copied once by the kernel (native: {why})"


def test_a_bond_receives_in_generic_mode_only():
    """A stand-in for one: `flags` is what the kernel says."""
    bond = SimpleNamespace(flags=0x1443, name="bond0", place="ns/bond0")
    assert [ways_on(bond, "xdp:bond0", mode) for mode in ("auto", "generic")] == [["generic"]] * 2
    for mode in ("copy", "zero-copy"):
        with pytest.raises(NotSupported) as caught:
            ways_on(bond, "xdp:bond0", mode)
        assert "its ports, as xdp:eth0" in caught.value.hint
        assert "xdp:ns/bond0,mode=generic" in caught.value.hint


def test_too_few_descriptors_are_named(namespace, drive, monkeypatch):
    namespace.veth("a", "b")

    def full(_entries):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("uspnet.kernel.bpf.create_socket_map", full)
    with pytest.raises(NoMemory) as caught:
        drive("xdp:a")
    assert caught.value.hint == "see: ulimit -n"


def test_frames_that_cross_a_chunk_are_sent_whole(namespace, drive, frames, read_frames):
    """They are short enough for one, and begin behind the room that buffers have before them; those
    that the MTU of later allows are not.
    """
    namespace.veth("a", "b")
    for name in "ab":
        namespace.ip("link", "set", "dev", name, "mtu", 1700)
    try:
        port = drive("xdp:a", frame=5000)
    except NotSupported:
        pytest.skip("AF_XDP takes frames in one piece only: Linux 6.6 takes several")
    sock, sent = namespace.socket("b"), frames([1714, 1714, 60])
    assert port.send(sent, offset=HEADROOM) == 3
    assert read_frames(sock, 3) == sent
    namespace.ip("link", "set", "dev", "a", "mtu", 3000)
    port.port.control()
    assert port.tx.c.limit == port.port.frame == 1718


def test_what_a_nic_drops_in_zero_copy_is_unknown_unless_something_is_counted(
    namespace, drive, monkeypatch
):
    namespace.veth("a", "b")
    driven = drive("xdp:a")
    port = driven.port
    assert port.extra_counters() == {"rx_missed_errors": 0}
    for counted, missed in ((0, None), (3, 3)):
        port.zero_copied = {0}  # as if the driver had it
        told = xsk.Statistics(rx_dropped=counted)
        monkeypatch.setattr(xsk.XdpSocket, "statistics", lambda _sock, told=told: told)
        port.control()
        assert port.extra_counters() == {"rx_missed_errors": missed}
        assert driven.counters[0].missed == (UNKNOWN if missed is None else missed)


def test_busy_polling_is_set(namespace, drive):
    namespace.veth("a", "b")
    port = drive("xdp:a,busy-poll=on").port
    (sock,) = (each.sock for each in port.sockets)
    assert sock.getsockopt(socket.SOL_SOCKET, 46) == xsk.BUSY_POLL[46], "the others can't be read"


def test_an_interface_that_is_not_there_offers_nothing():
    assert netdev.features(1 << 30) == {}
    assert netdev.program(1 << 30) == 0
    lo = socket.if_nametoindex("lo")
    assert netdev.features(lo) == {lo: netdev.features()[lo]}
