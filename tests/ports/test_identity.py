# SPDX-License-Identifier: Apache-2.0
"""fwd of frames that the other port can't send, and peers that come and go: each packet is in
exactly one counter, and what was forwarded is what came out at the other side.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys

import pytest

from tests.support.captures import pcap_frames
from tests.support.identity import answer
from tests.support.processes import children_named
from tests.support.waiting import scaled, until
from uspnet.ports.qemu import models

HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
SIZES = [1, 5, 13, 14, 16, 17, 59, 60, 1500, 1514, 1515, 1518, 1519, 1522, 1523, 9000, 9728, 20000]
TWICE = 2  # each size
USPNET = [sys.executable, "-m", "uspnet"]


@pytest.fixture
def source(tmp_path):
    """A capture file of frames that are too short, good, and too long for most ports."""
    path = tmp_path / "in.pcap"
    header = bytes.fromhex("02000000000202000000000188b5")
    frames = [(header + bytes(size))[:size] for size in SIZES for _ in range(TWICE)]
    records = [struct.pack("<IIII", 1, 0, len(f), len(f)) + f for f in frames]
    path.write_bytes(HEAD + b"".join(records))
    return f"pcap:{path}"


def fwd(*ports, **more):
    """Run fwd to its end. Return what it counted, checked."""
    command = [*USPNET, "fwd", *ports, "--json"]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=scaled(120), check=False, **more
    )
    return answer(run.stdout)


def sent_of(low, high):
    """How many frames of the file have such a length."""
    return TWICE * sum(low <= size <= high for size in SIZES)


def test_null_takes_all(source):
    assert fwd(source, "null:")["forwarded"] == TWICE * len(SIZES)


@pytest.mark.parametrize("more", ["", ",snaplen=20"])
def test_a_file_holds_what_was_forwarded(source, tmp_path, more):
    found = fwd(source, f"pcap:out={tmp_path}/out.pcap,format=pcap{more}")
    assert found["forwarded"] == len(pcap_frames(tmp_path / "out.pcap")) == TWICE * len(SIZES)


@pytest.mark.parametrize("model", sorted(models()))
def test_an_emulated_nic(source, qemu, model):
    found = fwd(source, f"qemu:{model},loop=on")
    if found.get("error") == "NotSupported":
        pytest.skip(found["message"])
    assert set(found["drops"]) == {"too_short", "too_long"}
    shortest = 17 if models()[model].ring.startswith("intel") else 14
    assert found["forwarded"] == sent_of(shortest, 1522)


@pytest.mark.parametrize("zero", ["on", "off"])
@pytest.mark.parametrize("role", ["client", "server"])
def test_memif(source, tmp_path, role, zero):
    specs = {
        "client": f"memif:{tmp_path}/m,zero-copy={zero},wait=20,frame=1514",
        "server": f"memif:{tmp_path}/m,role=server",
    }
    other = specs["server" if role == "client" else "client"]
    with subprocess.Popen(
        [*USPNET, "capture", other, "--json"], stdout=subprocess.PIPE, text=True
    ) as peer:
        found = fwd(source, specs[role])
        peer.send_signal(signal.SIGINT)
        taken = answer(peer.communicate(timeout=scaled(60))[0])
    assert taken["received"] == found["forwarded"]
    assert found["drops"]["too_long"] >= TWICE


@pytest.mark.parametrize("zero", ["on", "off"])
def test_a_server_that_comes_back_in_the_middle(tmp_path, zero):
    command = [*USPNET, "capture", f"memif:{tmp_path}/m,role=server", "--json"]
    spec = f"memif:{tmp_path}/m,zero-copy={zero},wait=20"
    client = [*USPNET, "pktgen", spec, "--rate", "20kpps", "--json"]
    with subprocess.Popen(client, stdout=subprocess.PIPE, text=True) as sender:
        asked = []

        def sent_enough(packets):
            if packets > 4000 and not asked:
                asked.append(sender.send_signal(signal.SIGINT))
            return sender.poll() is not None

        first = serve(command, lambda packets: packets > 4000)
        second = serve(command, sent_enough)
        sent = answer(sender.communicate(timeout=scaled(60))[0])
    assert sent["sent"] == first["received"] + second["received"]
    assert first["received"] > 0 < second["received"]
    assert set(sent["drops"]) <= {"peer_left"}


def serve(command, enough):
    """Run a server until `enough(packets received)`. Return its result."""
    from uspnet.telemetry import look

    def received():
        return sum(row.rx_packets or 0 for job in look(server.pid).jobs for row in job.ports)

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        until(lambda: enough(received()), 60)
        server.send_signal(signal.SIGINT)
        return answer(server.communicate(timeout=scaled(60))[0])


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_packet(namespace, source, mtu):
    namespace.veth("a", "b", mtu)
    far = namespace.socket("b")
    found = answer(namespace.uspnet("fwd", source, "packet:a", "--json").stdout)
    assert found["forwarded"] == arrived(far)
    assert set(found["drops"]) == {"too_short", "too_long"}


def test_tap(namespace, source):
    namespace.ip("tuntap", "add", "name", "t0", "mode", "tap")
    namespace.ip("link", "set", "dev", "t0", "up")
    far = namespace.socket("t0")
    found = answer(namespace.uspnet("fwd", source, "tap:t0", "--json").stdout)
    assert found["forwarded"] == arrived(far)
    assert found["dropped"] >= TWICE * sum(size < 14 for size in SIZES)


def arrived(far):
    """How many frames a raw socket has received."""
    count = 0
    far.settimeout(0.3)
    try:
        while far.recv(65536):
            count += 1
    except TimeoutError:
        return count


def test_what_the_kernel_missed_is_counted_once(namespace):
    count = 60_000
    namespace.veth("a", "b")
    running = namespace.start("capture", "packet:b,ring=1", "--quiet")
    both = [*children_named(running.process.pid, "worker"), running.process.pid]
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    out = namespace.socket("a")
    frame = bytes.fromhex("02000000000202000000000188b5") + bytes(100)
    for _ in range(count):
        out.send(frame)
    for pid in both:  # the worker first: the command would take it for one that hangs
        os.kill(pid, signal.SIGCONT)
    until(lambda: running.count("rx_packets") + running.count("rx_missed_errors") >= count)
    found = running.end()
    assert found["missed"] > 0
    assert found["received"] + found["missed"] == count


def test_numbered_packets_that_come_back_from_a_wire(namespace):
    namespace.veth("a", "b")
    run = namespace.uspnet(
        *("pktgen", "packet:a", "--rx-port", "packet:b", "--count", 20_000, "--rate", "50kpps"),
        *("--size", 80, "--json"),
    )
    found = answer(run.stdout)
    assert (found["sent"], found["lost"], found["foreign"]) == (20_000, 0, 0)


FULL = 'mount -t tmpfs -o size=2m none "$0" && cd "$0" || exit 9; "$@"; stat -c %s x.pcap >&2'


def test_a_disk_that_is_full_ends_the_run_with_its_counts(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    command = [*USPNET, "capture", "null:size=1000", "-w", "x.pcap", "-F", "pcap", "--json"]
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", FULL, str(tmp_path), *command],
        capture_output=True, text=True, timeout=scaled(120), check=False,
    )  # fmt: skip
    found = answer(run.stdout)
    assert found["ended"] == "error"
    assert found["written"] == (int(run.stderr.split()[-1]) - 24) // 1016 > 0
    assert list(found["drops"]) == ["no_room"]


def test_a_device_that_sends_nothing_more_has_not_sent(qemu, tmp_path):
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.bind(f"{tmp_path}/wire.b")
    spec = f"qemu:virtio-net,wire={tmp_path}/wire,tx-ring=256"
    command = [*USPNET, "pktgen", spec, "--duration", "0.3", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=False)
    found, taken = answer(run.stdout), 0
    far.setblocking(False)
    while taken < found["offered"]:
        try:
            far.recv(65536)
        except BlockingIOError:
            break
        taken += 1
    far.close()
    assert found["sent"] == taken
    assert found["drops"]["peer_left"] == found["unsent"] > 0
