# SPDX-License-Identifier: Apache-2.0
"""tap: against the kernel's network stack: ping, tcpdump and raw sockets on the interface."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import signal
import socket
import struct
import subprocess
import sys

import pytest

from tests.support.identity import answer
from tests.support.tiers import full
from tests.support.waiting import scaled


@pytest.fixture
def needs_cores():
    def check(text):
        if not {int(core) for core in text.split(",")} <= os.sched_getaffinity(0):
            pytest.skip(f"too few processor cores: {text} are wanted")

    return check


def test_tcpdump_sees_exactly_what_was_sent(namespace, tcpdump):
    from uspnet.packets.frames import udp_frame

    namespace.ip("tuntap", "add", "name", "t0", "mode", "tap")
    namespace.ip("link", "set", "dev", "t0", "up")
    dump = tcpdump("t0")
    run = namespace.uspnet("pktgen", "tap:t0", "--count", 5000, "--json")
    assert answer(run.stdout)["sent"] == 5000
    wanted = udp_frame(
        60, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
    )
    assert dump.frames(5000) == [wanted] * 5000
    assert "t0" in namespace.links()  # it was there before


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_fwd_passes_frames_unchanged_both_ways(namespace, frames, read_frames, mtu):
    namespace.veth("a", "b", mtu)
    fwd = namespace.start("fwd", f"tap:t0,mtu={mtu}", "packet:b")
    left, right = namespace.socket("t0"), namespace.socket("a")
    sent = frames([14, 15, 60, 61, 1514, mtu + 14] * 30)
    for source, sink in ((left, right), (right, left)):
        for frame in sent:
            source.send(frame)
        assert read_frames(sink, len(sent)) == sent
    assert fwd.end()["forwarded"] == 2 * len(sent)


def test_vlan_tags_pass(namespace, frames, read_frames):
    namespace.veth("a", "b")
    namespace.start("fwd", "tap:t0", "packet:b")
    left, right = namespace.socket("t0"), namespace.socket("a")
    sent = [f[:12] + b"\x81\x00\x20\x05" + f[12:] for f in frames([16, 60, 1514])]
    for source, sink in ((left, right), (right, left)):
        for frame in sent:
            source.send(frame)
        assert read_frames(sink, len(sent)) == sent


@pytest.mark.parametrize("offload", ["on", "off"])
def test_tcp_and_udp_pass_between_stacks(namespace, namespaces, needs, offload):
    other = namespaces()
    namespace.veth("a", "b")
    namespace.ip("link", "set", "dev", "a", "netns", other.name)
    other.ip("address", "add", "10.9.0.2/24", "dev", "a")
    other.ip("link", "set", "dev", "a", "up")
    if offload == "off":
        needs("ethtool")
        other.run("ethtool", "-K", "a", "tx", "off")
    namespace.start("fwd", "tap:t0,ip=10.9.0.1/24", "packet:b")
    data = bytes(range(256)) * 5
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with namespace.entered():
            client = socket.socket(socket.AF_INET, kind)
        with other.entered():
            server = socket.socket(socket.AF_INET, kind)
        with client, server:
            client.settimeout(scaled(5))
            server.settimeout(scaled(5))
            server.bind(("10.9.0.2", 7))
            if kind == socket.SOCK_STREAM:
                server.listen()
                client.connect(("10.9.0.2", 7))
                server, _ = server.accept()
                client.sendall(data)
                assert server.recv(len(data), socket.MSG_WAITALL) == data
                server.sendall(data[1:])
                assert client.recv(len(data) - 1, socket.MSG_WAITALL) == data[1:]
                server.close()
            else:
                client.sendto(data, ("10.9.0.2", 7))
                got, peer = server.recvfrom(2048)
                assert got == data
                server.sendto(data[1:], peer)  # an odd number of bytes
                assert client.recv(2048) == data[1:]


def test_options_reach_the_interface(namespace):
    namespace.start(
        "fwd", "tap:t0,mtu=4000,mac=02:00:00:00:00:99,ip=192.0.2.1/28,queues=2", "null:"
    )
    link = namespace.link("t0")
    addresses = namespace.addresses("t0")
    assert (link["mtu"], link["address"]) == (4000, "02:00:00:00:00:99")
    assert "UP" in link["flags"]
    assert link["linkinfo"]["info_data"]["multi_queue"] is True
    found = addresses[0]["addr_info"][0]
    assert (found["local"], found["prefixlen"]) == ("192.0.2.1", 28)


def test_queues_share_the_packets(namespace, frames, wait_until):
    capture = namespace.start("capture", "tap:t0,queues=2")
    source = namespace.socket("t0")
    for frame in frames([60] * 400):
        source.send(frame)
    wait_until(lambda: capture.count("rx_packets") == 400)
    assert capture.end()["received"] == 400


@pytest.mark.parametrize(("left", "right"), [(4, 1), (1, 4), (3, 2)])
@pytest.mark.parametrize("cores", ["0,1", *full("0")])
def test_fwd_serves_every_queue_of_ports_that_have_unlike_numbers(
    namespace, needs_cores, wait_until, left, right, cores
):
    needs_cores(cores)
    fwd = namespace.start(
        "fwd", f"tap:t0,queues={left}", f"tap:t1,queues={right}", "--cores", cores
    )
    frame = bytes.fromhex("02000000000202000000000108004500002e0000400040110000c6120001c6120002")
    random_ports = random.Random(1)
    for source in (namespace.socket("t0"), namespace.socket("t1")):
        for _ in range(400):
            source.send(frame + random_ports.randbytes(26))
    wait_until(lambda: fwd.count("tx_packets") + fwd.count("tx_dropped") == 800)
    result = fwd.end()
    assert (result["received"], result["forwarded"], result["dropped"]) == (800, 800, 0)


def test_every_queue_leaves_by_one_of_a_worker_and_each_worker_has_its_own():
    from uspnet.jobs.forward.job import Forwarding, ForwardJob
    from uspnet.jobs.plan import Limits
    from uspnet.ports.registry import make_port

    for left, right in itertools.product(range(1, 6), repeat=2):
        ports = [make_port("null:"), make_port("null:")]
        ports[0].queues, ports[1].queues = left, right
        job = ForwardJob(ports, Limits(), Forwarding())
        for workers in range(1, 5):
            job.cores = list(range(workers))
            plans = job.plans()
            lanes = [lane for plan in plans for lane in plan.lanes]
            assert all(plan.lanes for plan in plans)
            assert sorted(rx[1] for rx, _ in lanes if rx[0] is ports[0]) == list(range(left))
            assert sorted(rx[1] for rx, _ in lanes if rx[0] is ports[1]) == list(range(right))
            owned = [{(id(tx[0]), tx[1]) for _, [tx] in plan.lanes} for plan in plans]
            assert sum(map(len, owned)) == len(set().union(*owned))
        job.undo.close()


def test_frames_that_are_no_frames_are_counted(drive, frames):
    port = drive("tap:t0")
    assert port.send([b"short", *frames([14, 60])]) == 3
    assert [port.counters[1].packets, port.counters[1].errors] == [2, 1]


def test_a_frame_that_was_cut_is_counted(namespace, drive, frames):
    port, source = drive("tap:t0"), namespace.socket("t0")
    namespace.ip("link", "set", "dev", "t0", "mtu", 9000)
    for frame in frames([9014, 60]):
        source.send(frame)
    assert [frame for frame, _ in port.receive()] == frames([9014, 60])[1:]
    assert port.counters[0].errors == 1
    assert port.stack.top == port.stack.room


def test_frames_are_whole_whatever_another_process_asked_for(namespace, drive, wait_until):
    """The kernel remembers which offloads the last holder of a lasting interface wanted."""
    namespace.ip("tuntap", "add", "name", "t0", "mode", "tap", "vnet_hdr")
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"t0", 0x0002 | 0x1000 | 0x4000))
        fcntl.ioctl(fd, 0x400454D0, 0x01 | 0x02)  # checksums, TCPv4
        os.close(fd)
    port, seen = drive("tap:t0,ip=10.9.0.1/24"), []
    namespace.ip("neighbour", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "t0")
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"anything", ("10.9.0.2", 9))
    wait_until(lambda: seen.extend(port.receive()) or seen)
    pseudo = seen[0][0][26:34] + struct.pack("!HH", 17, len(seen[0][0]) - 34)
    words = pseudo + seen[0][0][34:]
    assert sum(struct.unpack(f"!{len(words) // 2}H", words)) % 0xFFFF == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_interface_ends_with_the_process(namespace, number, wait_until):
    running = namespace.start("capture", "tap:t0")
    assert "t0" in namespace.links()
    if number == signal.SIGKILL:
        running.process.kill()
        running.process.wait()
    else:
        running.end(number)
    wait_until(lambda: "t0" not in namespace.links())


def test_a_run_goes_on_when_its_interface_was_down(namespace, frames, read_frames, wait_until):
    namespace.veth("a", "b")
    fwd = namespace.start("fwd", "packet:b", "tap:t0")
    source = namespace.socket("a")
    namespace.ip("link", "set", "dev", "t0", "down")
    fwd.hears("interface t0 is down")
    source.send(frames([60])[0])
    wait_until(lambda: fwd.count("tx_dropped") == 1)
    namespace.ip("link", "set", "dev", "t0", "up")
    fwd.hears("interface t0 is up")
    wait_until(lambda: not source.send(frames([61])[0]) or fwd.count("tx_packets") > 0)
    result = fwd.end()
    assert result["drops"]["down"] >= 1
    assert result["received"] == result["forwarded"] + result["dropped"]


@pytest.mark.parametrize("command", ["capture", "pktgen"])
def test_an_interface_that_goes_down_ends_the_run_where_that_is_wished(namespace, command):
    running = namespace.start(command, "tap:t0", "--no-reconnect")
    namespace.ip("link", "set", "dev", "t0", "down")
    code, out, _ = running.ends()
    assert code == 1
    assert answer(out)["hint"] == "ip link set t0 up"


@pytest.mark.parametrize("command", ["capture", "pktgen"])
def test_an_interface_that_is_removed_ends_the_run(namespace, command):
    running = namespace.start(command, "tap:t0")
    namespace.ip("link", "delete", "dev", "t0")
    code, out, _ = running.ends()
    assert code == 1
    assert "was removed" in answer(out)["message"]


def test_somebody_else_may_bring_it_up(namespace, wait_until):
    words = ("pktgen", "tap:t0,up=off", "--count", 10, "--json")
    command = namespace.command(sys.executable, "-m", "uspnet", *words)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: "t0" in namespace.links())
        namespace.ip("link", "set", "dev", "t0", "up")
        out, _ = process.communicate(timeout=scaled(60))
    assert process.returncode == 0
    assert answer(out)["sent"] == 10


@pytest.mark.parametrize(
    ("spec", "kind", "hint"),
    [
        ("tap:", "Usage", "write tap:NAME"),
        ("tap:abcdefghijklmnop", "Usage", "1 to 15"),
        ("tap:a%b", "Usage", "leave out"),
        ("tap:t%d", "Usage", "leave out"),
        ("tap:t0,mtu=67", "Usage", "68"),
        ("tap:t0,mac=1", "Usage", "02:00"),
        ("tap:t0,mac=01:00:00:00:00:01", "Usage", "ip link show"),
        ("tap:t0,ip=10.0.0.300", "Usage", "10.0.0.1/24"),
        ("tap:lo", "Busy", "another name"),
    ],
)
def test_mistakes_are_told_with_a_hint(namespace, spec, kind, hint):
    run = namespace.uspnet("capture", spec, "--json", "--duration", 1, check=False)
    error = answer(run.stdout)
    assert run.returncode == (2 if kind == "Usage" else 1)
    assert error["error"] == kind
    assert hint in error["hint"]
    assert namespace.links() == {"lo"}


def test_an_interface_that_another_process_holds_is_busy(namespace):
    namespace.start("capture", "tap:t0")
    run = namespace.uspnet("capture", "tap:t0", "--json", check=False)
    assert run.returncode == 1
    assert answer(run.stdout)["error"] == "Busy"


def test_without_privilege(namespace, needs):
    needs("setpriv")
    run = namespace.unprivileged("capture", "tap:t0")
    assert run.returncode == 1
    assert "not permitted" in run.stderr
    assert "ip tuntap add t0 mode tap" in run.stderr


@pytest.mark.parametrize("port", ["tap:t0", "qemu:e1000,tap=t0"])
def test_an_interface_that_root_has_made_and_brought_up_needs_no_privilege(namespace, needs, port):
    needs("setpriv")
    if port.startswith("qemu"):
        needs(os.environ.get("USPNET_QEMU", "qemu-system-x86_64"))
    namespace.ip("tuntap", "add", "t0", "mode", "tap", "user", os.geteuid())
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "uspnet",
             "capture", port, "--duration", "0.3"]  # fmt: skip
    down = namespace.run(*words, check=False)
    assert down.returncode == 1
    assert "ip link set t0 up" in down.stderr
    namespace.ip("link", "set", "t0", "up")
    up = namespace.run(*words, check=False)
    assert up.returncode == 0, up.stderr
    assert namespace.link("t0")["mtu"] == 1500


def test_without_the_kernels_module(namespace, needs):
    needs("unshare")
    hide = 'mount -t tmpfs none /dev/net && exec "$0" -m uspnet capture tap:t0'
    run = namespace.run("unshare", "--mount", "sh", "-c", hide, sys.executable, check=False)
    assert run.returncode == 1
    assert "modprobe tun" in run.stderr
