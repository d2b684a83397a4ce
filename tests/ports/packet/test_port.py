# SPDX-License-Identifier: Apache-2.0
"""packet: against the kernel itself: veth pairs, raw sockets, tcpdump and trafgen."""

from __future__ import annotations

import os
import random
import signal
import struct
import time

import pytest

from tests.support.identity import answer
from tests.support.processes import children_named
from tests.support.waiting import until
from uspnet.fastpath import lib

SIZES = [14, 15, 60, 61, 64, 333, 1513, 1514]


@pytest.fixture
def veth(namespace):
    """The namespace, with interfaces a and b on one cable."""
    namespace.veth("a", "b")
    return namespace


@pytest.mark.parametrize("size", [60, 1514])
def test_tcpdump_sees_exactly_what_was_sent(veth, tcpdump, size):
    from uspnet.packets.frames import udp_frame

    dump = tcpdump("b")
    run = veth.uspnet("pktgen", "packet:a", "--count", 5000, "--size", size, "--json")
    result = answer(run.stdout)
    assert (result["offered"], result["sent"], result["unsent"]) == (5000, 5000, 0)
    assert result["ports"][0]["link_bps"] == 10_000_000_000, "what the kernel says of a veth"
    wanted = udp_frame(
        size, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
    )
    assert dump.frames(5000) == [wanted] * 5000


def test_capture_receives_what_trafgen_sends(veth, tmp_path, needs, wait_until):
    needs("trafgen")
    (tmp_path / "conf").write_text("{ 2,0,0,0,0,2, 2,0,0,0,0,1, 0x88, 0xb5, fill(7, 46) }\n")
    capture = veth.start("capture", "packet:b")
    veth.run("trafgen", "--dev", "a", "--conf", tmp_path / "conf", "--cpus", 1, "-n", 20000)
    wait_until(lambda: capture.count("rx_packets") + capture.count("rx_missed_errors") >= 20000)
    result = capture.end()
    port = result["ports"][0]
    assert port["rx_packets"] + port["rx_missed_errors"] == 20000
    assert port["rx_bytes"] == 60 * port["rx_packets"]
    assert port["rx_errors"] == 0


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_fwd_passes_frames_unchanged_both_ways(namespace, frames, read_frames, mtu):
    namespace.veth("a", "b", mtu)
    namespace.veth("c", "d", mtu)
    fwd = namespace.start("fwd", "packet:b", "packet:c")
    left, right = namespace.socket("a"), namespace.socket("d")
    sent = frames([*SIZES, mtu + 14] * 30)
    for source, sink in ((left, right), (right, left)):
        for frame in sent:
            source.send(frame)
        assert read_frames(sink, len(sent)) == sent
    result = fwd.end()
    assert result["forwarded"] == 2 * len(sent)  # nothing came round again
    assert result["dropped"] == 0


def test_buffers_have_room_for_three_tags(veth, drive):
    assert drive("packet:a").port.longest_frame(1 << 16) == 1500 + 14 + 3 * 4


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
def test_vlan_tags_pass(namespace, frames, read_frames, tpid):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    namespace.start("fwd", "packet:b", "packet:c")
    source, sink = namespace.socket("a"), namespace.socket("d")
    tag = struct.pack("!HH", tpid, 0x6123)
    sent = [frame[:12] + tag + frame[12:] for frame in frames([16, 60, 1510])]
    for frame in sent:
        source.send(frame)
    assert read_frames(sink, len(sent)) == sent


def test_a_tagged_frame_may_be_four_bytes_longer(veth, drive, frames):
    port = drive("packet:a")
    plain = frames([1515])
    tagged = [f[:12] + b"\x81\x00\x00\x05" + f[12:] for f in frames([1514])]
    assert port.send([*plain, *tagged, b"short"]) == 3
    assert [port.counters[1].packets, port.counters[1].errors] == [1, 2]


def test_a_frame_that_never_finds_room_is_refused(veth, drive, frames):
    """As where a filter behind the interface's queue drops it: others wait behind it."""
    port = drive("packet:a")
    veth.ip("link", "set", "dev", "b", "down")  # without a carrier there is no room either
    pair = frames([60, 61])
    assert port.send(pair) == 0
    until(lambda: port.send(pair) == 1)
    assert port.send(pair) == 0
    assert [port.counters[1].packets, port.counters[1].drops[lib.DROP_REFUSED]] == [0, 1]
    veth.ip("link", "set", "dev", "b", "up")
    until(lambda: port.send(pair) == 2)


def test_no_frame_that_the_mtu_forbids_is_tried(veth):
    run = veth.uspnet("pktgen", "packet:a", "--size", 1515, "--count", 1, check=False)
    assert run.returncode == 2
    assert "at most 1,514 bytes" in run.stderr
    assert "FCS" in run.stderr
    assert "mtu" in run.stderr


def test_every_packet_has_the_kernels_time(veth, drive, frames, wait_until):
    port, source, sent, seen = drive("packet:b"), veth.socket("a"), frames([60] * 10), []
    before = time.time_ns()
    for frame in sent:
        source.send(frame)
    wait_until(lambda: seen.extend(port.receive()) or len(seen) == 10)
    stamps = [stamp for _, stamp in seen]
    assert [frame for frame, _ in seen] == sent
    assert stamps == sorted(stamps)
    assert before <= stamps[0] <= stamps[-1] <= time.time_ns()


def test_what_finds_the_ring_full_is_counted(veth, drive, frames, wait_until):
    port, source = drive("packet:b,ring=1"), veth.socket("a")
    frame, total, got = frames([1514])[0], 3000, 0
    for _ in range(total):
        source.send(frame)

    def all_told():
        nonlocal got
        while seen := port.receive():
            got += len(seen)
        with veth.entered():
            port.port.control()
        return got + port.counters[0].missed == total

    wait_until(all_told)
    missed = port.counters[0].missed
    assert missed > 0
    port.port.finish()
    assert port.counters[0].missed == missed


def test_what_was_missed_is_counted_once_in_every_place(veth, frames, tmp_path, wait_until):
    capture = veth.start("capture", "packet:b,ring=1", "-w", tmp_path / "x.pcapng")
    source = veth.socket("a")
    both = [*children_named(capture.process.pid, "worker"), capture.process.pid]
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    for frame in frames([1514] * 3000):
        source.send(frame)
    for pid in both:  # the worker first: the command would take it for one that hangs
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: capture.count("rx_packets") + capture.count("rx_missed_errors") == 3000)
    told = capture.count("rx_missed_errors")
    capture.hears("xdp:b is faster")
    result = capture.end()
    assert result["missed"] == result["ports"][0]["rx_missed_errors"] == told > 0
    assert result["received"] + told == 3000
    # struct interface statistics: isb_ifrecv and isb_ifdrop of the last block
    data = (tmp_path / "x.pcapng").read_bytes()
    counts = struct.unpack_from("<Q", data, data.rindex(struct.pack("<HH", 5, 8)) + 4)[0]
    assert counts == told


def test_queues_share_the_packets(veth, wait_until):
    capture = veth.start("capture", "packet:b,queues=3", "--cores", "0")
    source, random_ports = veth.socket("a"), random.Random(1)
    for _ in range(3000):
        ports = struct.pack("!HH", random_ports.randrange(65536), 9)
        ip = bytes.fromhex("4500002e000040004011aebbc6120001c6120002")
        source.send(bytes.fromhex("0200000000020200000000010800") + ip + ports + bytes(22))
    wait_until(lambda: capture.count("rx_packets") >= 3000)
    assert capture.end()["received"] == 3000


def test_own_packets_come_in_only_when_asked_for(veth, frames, wait_until):
    capture = veth.start("capture", "packet:a")
    outgoing = veth.start("capture", "packet:a,outgoing=on")
    source = veth.socket("a")
    for frame in frames([60] * 100):
        source.send(frame)
    wait_until(lambda: outgoing.count("rx_packets") == 100)
    assert outgoing.end()["received"] == 100
    assert capture.end()["received"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_promiscuous_mode_ends_with_the_process(veth, number, wait_until):
    capture = veth.start("capture", "packet:b")
    assert veth.link("b")["promiscuity"] == 1
    if number == signal.SIGKILL:
        capture.process.kill()
        capture.process.wait()
    else:
        capture.end(number)
    wait_until(lambda: veth.link("b")["promiscuity"] == 0)  # the loops' process ends a bit later


def test_promiscuous_mode_can_be_declined(veth):
    veth.start("capture", "packet:b,promisc=off")
    assert veth.link("b")["promiscuity"] == 0


@pytest.mark.parametrize("port", ["packet:a", "tap:t0", "null:"])
def test_every_frame_of_a_file_is_forwarded_or_dropped_by_name(veth, tmp_path, port):
    sizes = [1, 11, 13, 14, 15, 60, 1514, 1515, 1518, 1519, 9000, 9729]
    records = (struct.pack("<IIII", 1, 0, n, n) + (bytes(12) + b"\x88\xb5" * n)[:n] for n in sizes)
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    (tmp_path / "x.pcap").write_bytes(head + b"".join(records))
    words = ("fwd", f"pcap:{tmp_path}/x.pcap", port, "--json", "--duration", 5)
    result = answer(veth.uspnet(*words).stdout)
    wanted = {"packet:a": {"too_long": 5, "too_short": 3}, "tap:t0": {"too_short": 3}, "null:": {}}
    assert result["drops"] == wanted[port]
    assert result["received"] == len(sizes) == result["forwarded"] + result["dropped"]


@pytest.mark.parametrize(
    ("spec", "kind", "hint"),
    [
        ("packet:nope", "NoDevice", "interfaces are: "),
        ("packet:", "Usage", "interfaces are: "),
        ("packet:a%b", "Usage", "leave out"),
        ("packet:down", "DeviceFault", "ip link set down up"),
        ("packet:b,queues=0", "Usage", "1 to 64"),
        ("packet:b,loop=on", "Usage", "options are: "),
    ],
)
def test_mistakes_are_told_with_a_hint(veth, spec, kind, hint):
    veth.ip("link", "add", "name", "down", "type", "veth")
    run = veth.uspnet("capture", spec, "--json", "--duration", 1, check=False)
    error = answer(run.stdout)
    assert run.returncode == (2 if kind == "Usage" else 1)
    assert error["error"] == kind
    assert hint in error["hint"]


@pytest.mark.full
def test_an_interface_without_a_carrier_is_not_waited_for_without_end(veth):
    veth.ip("link", "set", "dev", "b", "down")
    run = veth.uspnet("pktgen", "packet:a", "--count", 1, check=False)
    assert run.returncode == 1
    assert "no carrier" in run.stderr


def test_without_privilege(veth, needs):
    needs("setpriv")
    run = veth.unprivileged("capture", "packet:a")
    assert run.returncode == 1
    assert "not permitted" in run.stderr
    assert "CAP_NET_RAW" in run.stderr
    assert "Traceback" not in run.stderr


def test_rings_that_there_is_no_memory_for_are_refused(veth):
    from uspnet.memory import memory_available

    if memory_available() > 64 << 30:
        pytest.skip("this machine has memory for the largest rings")
    run = veth.uspnet("capture", "packet:a,queues=64,ring=1024", "--json", check=False)
    assert run.returncode == 1
    assert answer(run.stdout)["error"] == "NoMemory"
