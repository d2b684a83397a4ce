# SPDX-License-Identifier: Apache-2.0
"""xdp: against the kernel itself: veth pairs, raw sockets and tcpdump."""

from __future__ import annotations

import itertools
import signal
import socket

import pytest

from tests.support.identity import answer
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.errors import Busy, DeviceFault, NoDevice, NotSupported, Refused, Usage
from uspnet.telemetry import statistics_of

SIZES = [14, 15, 60, 61, 64, 333, 1513, 1514]
try:
    socket.socket(44, socket.SOCK_RAW, 0).close()
except OSError as error:
    pytestmark = pytest.mark.skip(f"no AF_XDP sockets here: {error.strerror}")


@pytest.fixture
def veth(namespace):
    """The namespace, with interfaces a and b on one cable."""
    namespace.veth("a", "b")
    return namespace


def test_tcpdump_sees_exactly_what_was_sent(veth, tcpdump):
    from uspnet.packets.frames import udp_frame

    dump = tcpdump("b")
    run = veth.uspnet("pktgen", "xdp:a", "--count", 5000, "--json")
    result = answer(run.stdout)
    assert (result["offered"], result["sent"], result["unsent"]) == (5000, 5000, 0)
    wanted = udp_frame(
        60, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
    )
    assert dump.frames(5000) == [wanted] * 5000


@pytest.mark.parametrize(
    ("mtu", "mode"),
    by_tier(
        [(1500, "auto"), (9000, "auto")],
        [(1500, "auto"), (3500, "copy"), (9000, "auto"), (9000, "generic")],
        [*itertools.product((1500, 3500, 9000), ("auto", "copy", "generic"))],
    ),
)
def test_fwd_passes_frames_unchanged_both_ways(namespace, frames, read_frames, mtu, mode):
    """Also those that the kernel hands over in several pieces."""
    namespace.veth("a", "b", mtu)
    namespace.veth("c", "d", mtu)
    fwd = namespace.start("fwd", f"xdp:b,mode={mode}", f"xdp:c,mode={mode}")
    left, right = namespace.socket("a"), namespace.socket("d")
    sent = frames([*SIZES, mtu + 14] * 30)
    for source, sink in ((left, right), (right, left)):
        for frame in sent:
            source.send(frame)
        assert read_frames(sink, len(sent)) == sent
    assert namespace.programs() == {"b", "c"}
    result = fwd.end()
    assert result["forwarded"] == 2 * len(sent)  # nothing came round again
    assert result["dropped"] == 0
    assert namespace.programs() == set()


def test_fwd_between_this_and_other_ports_copies_nothing_wrong(namespace, frames, read_frames):
    """Frames of a pool with large buffers lie anywhere in them, also across two chunks."""
    namespace.veth("a", "b", 9000)
    namespace.veth("c", "d", 9000)
    fwd = namespace.start("fwd", "packet:b", "xdp:c")
    left, right = namespace.socket("a"), namespace.socket("d")
    sent = frames([60, 1514, 2000, 2048, 4090, 6143, 9014] * 20)
    for source, sink in ((left, right), (right, left)):
        for frame in sent:
            source.send(frame)
        assert read_frames(sink, len(sent)) == sent
    assert fwd.end()["dropped"] == 0


@pytest.mark.parametrize("poll", by_tier(["sleep"], ["sleep"], ["busy", "sleep"]))
def test_all_numbered_frames_come_back(veth, poll):
    count = by_tier(50_000, 1_000_000)
    words = ("--rx-port", "xdp:b", "--count", count, "--poll", poll, "--json")
    result = answer(veth.uspnet("pktgen", "xdp:a", *words).stdout)
    assert (result["sent"], result["lost"], result["duplicated"]) == (count, 0, 0)
    assert result["received"] + result["missed"] == count
    kernel = [port["statistics"] for port in result["ports"]]
    assert kernel[1]["rx_dropped"] + kernel[1]["rx_ring_full"] == result["missed"]
    assert not any(each[f"{way}_invalid_descs"] for each in kernel for way in ("rx", "tx"))
    found = veth.counted("a")
    assert found["tx"]["packets"] == count
    assert found["tx"]["dropped"] == 0


def test_what_finds_no_buffer_is_counted(veth, drive, frames):
    port, source, total = drive("xdp:b,ring=64"), veth.socket("a"), 300
    for frame in frames([60] * total):
        source.send(frame)
    got = 0

    def all_told():
        nonlocal got
        while seen := port.receive():
            got += len(seen)
        port.port.control()
        return got + port.counters[0].missed == total

    until(all_told)
    assert 64 <= got < total
    assert port.port.extra_counters() == {"rx_missed_errors": total - got}
    counted = statistics_of("xdp", port.counters)
    assert counted["rx_ring_full"] + counted["rx_dropped"] == total - got


def test_frames_that_are_no_frames_are_counted(veth, drive, frames):
    port, sink = drive("xdp:a"), veth.socket("b")
    assert port.send([b"short", *frames([1519, 14, 60])]) == 4
    assert [port.counters[1].packets, port.counters[1].errors] == [2, 2]
    assert [sink.recv(2000) for _ in range(2)] == frames([1519, 14, 60])[1:]
    port.send([])  # the buffers come back
    assert port.port.pending() == 0


@pytest.mark.parametrize(
    "mode", by_tier(["auto"], ["auto", "generic"], ["auto", "copy", "generic"])
)
def test_nothing_is_left_behind_however_it_ends(veth, wait_until, frames, mode):
    """No program, no promiscuity, and the next one starts at once."""
    before, source = veth.link("b"), veth.socket("a")
    for number in [*by_tier(2, 5, 100) * [signal.SIGKILL], signal.SIGTERM]:
        capture = veth.start("capture", f"xdp:b,mode={mode}")
        assert veth.programs() == {"b"}
        source.send(frames([60])[0])
        wait_until(lambda capture=capture: capture.count("rx_packets") > 0)
        if number == signal.SIGKILL:
            capture.process.kill()
            capture.process.wait()
        else:
            capture.end(number)
        wait_until(lambda: not veth.programs())
    assert veth.link("b") == before


def test_every_queue_receives(namespace):
    """Also with fewer workers than queues."""
    four = ("numtxqueues", 4, "numrxqueues", 4)
    namespace.ip("link", "add", "name", "a", *four, "type", "veth", "peer", "name", "b", *four)
    for name in "ab":
        namespace.ip("link", "set", "dev", name, "up")
    words = ("--rx-port", "xdp:b", "--count", 4000, "--vary", "udp.sport=1-100", "--json")
    result = answer(namespace.uspnet("pktgen", "xdp:a", *words).stdout)
    assert (result["sent"], result["received"]) == (4000, 4000)


def test_two_ports_of_one_interface_share_its_queues(namespace, drive):
    two = ("numtxqueues", 2, "numrxqueues", 2)
    namespace.ip("link", "add", "name", "a", *two, "type", "veth", "peer", "name", "b", *two)
    for name in "ab":
        namespace.ip("link", "set", "dev", name, "up")
    assert drive("xdp:a").port.numbers == (0, 1)
    assert drive("xdp:b,queues=1").port.numbers == (1,)


@pytest.mark.parametrize(
    ("spec", "kind", "hint"),
    [
        ("xdp:", Usage, "write xdp:NAME"),
        ("xdp:none", NoDevice, "interfaces are"),
        ("xdp:b,queues=1", Usage, "queues=all"),
        ("xdp:b,queues=x", Usage, "0-3"),
        ("xdp:b,queues=0-", Usage, "0-3"),
        ("xdp:b,ring=100", Usage, "power of two"),
        ("xdp:b,mode=zero-copy", NotSupported, "mode=copy"),
        ("xdp:down", DeviceFault, "ip link set down up"),
        ("xdp:taken", Busy, "bpftool link"),
        ("xdp:routed", Refused, "packet:routed"),
    ],
)
def test_mistakes_are_told_with_a_hint(veth, drive, spec, kind, hint):
    name = spec[4:]
    if name in {"down", "taken", "routed"}:
        veth.veth(name, "far")
    if name == "down":
        veth.ip("link", "set", "dev", name, "down")
    if name == "routed":
        veth.ip("address", "add", "10.9.0.1/24", "dev", name)
        veth.ip("route", "add", "default", "via", "10.9.0.2")
    if name == "taken":
        drive(spec)
    with pytest.raises(kind) as caught:
        drive(spec)
    assert hint in f"{caught.value} {caught.value.hint}"
    assert veth.programs() == ({name} if name == "taken" else set())
