# SPDX-License-Identifier: Apache-2.0
"""xdp: in zero-copy mode, on drivers of a recent kernel: virtio_net and igb."""

import json
import signal
import time

import pytest

from tests.support.captures import pcap_frames, write_pcap
from tests.support.tiers import by_tier
from tests.support.waiting import until
from tests.vm.conftest import ZERO_COPY, end_others
from tests.vm.network import interface, ip
from tests.vm.test_traffic import distinct, received
from uspnet.ports.xdp.tags import LOST

PATIENCE_S = 120  # for all frames to be sent by an emulated machine
SLOTS = 4096  # of rings
FEWER = by_tier(20_000, 20_000, 100_000)  # of igb, which QEMU is slow at
COUNT = {kind: FEWER if kind == "igb" else 100_000 for kind in ZERO_COPY}
LONGEST = [1514, 1513, 1025, 1024, 1023, 60]  # bytes, also around what igb does with 2 KiB chunks

pytestmark = pytest.mark.full


class Pair:
    """The two interfaces of a kind, on one wire."""

    def __init__(self, guest, kind):
        if kind not in guest.kinds:
            pytest.skip(f"this QEMU is too old: it has no {kind}")
        self.guest, self.kind, self.wire = guest, kind, guest.wires[kind]
        self.names = [interface(guest, guest.address(kind, number)) for number in (0, 1)]
        for name in self.names:  # the kernel is to send nothing of its own
            guest.write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")
            if kind == "igb":  # QEMU's drops what finds no buffer, and counts it nowhere
                guest.run(["ethtool", "-G", name, "rx", SLOTS])
        ip(guest, *(f"link set dev {name} up" for name in self.names))
        for name in self.names:
            until(lambda name=name: guest.read(f"/sys/class/net/{name}/carrier") == "1\n", 30, 0.1)
        self.wire.drain()

    def spec(self, number, mode="zero-copy"):
        return f"xdp:{self.names[number]},mode={mode},ring={SLOTS}"

    def send(self, frames):
        """Sends them from QEMU's end of the wire, no faster than a NIC takes them."""
        for frame in frames:
            self.wire.send(frame)
            time.sleep(0.0005)

    def links(self):
        """What iproute2 tells of both, but for counters."""
        text = self.guest.run(["ip", "-j", "-d", "link", "show"]).out
        shown = json.JSONDecoder().decode(text)
        return [row for row in shown if row["ifname"] in self.names]

    def is_free(self):
        """Whether they have no program, and are as before."""
        return all("xdp" not in row and row["promiscuity"] == 0 for row in self.links())


@pytest.fixture(params=ZERO_COPY)
def pair(request, recent_guest):
    pair, before = Pair(recent_guest, request.param), set(recent_guest.processes)
    yield pair
    if recent_guest.lost:
        return
    end_others(recent_guest, before)
    ip(recent_guest, *(f"link set dev {name} down mtu 1500" for name in pair.names), force=True)


def done(result):
    assert result.code == 0, result.out + result.err
    return result.json()


def ways(result):
    """How each port got to its interface; igb takes VLAN tags out, and tells none of them."""
    return [port["how"].removesuffix(f"; {LOST}") for port in result["ports"]]


JOBS = "from uspnet.telemetry import running_jobs; print(len(list(running_jobs())))"


def jobs(guest):
    """How many jobs run."""
    return int(guest.python(JOBS))


def started(pair, *words):
    """A command of uspnet that runs by now."""
    before = jobs(pair.guest)
    process = pair.guest.background(["uspnet", *words])
    until(lambda: jobs(pair.guest) > before, 60, 0.2, process.output)
    return process


def ended(process, number=signal.SIGINT):
    process.signal(number)
    return done(process.wait())


def test_what_is_offered_is_told(pair):
    name = pair.names[0]
    rows = pair.guest.run(["uspnet", "doctor", f"xdp:{name}", "--json"]).json()["checks"]
    (row,) = [row for row in rows if row["check"] == "XDP mode"]
    assert (row["state"], row["found"].partition(";")[0]) == ("ok", "zero copy")
    nics = pair.guest.run(["uspnet", "devices", "--json"]).json()["devices"]
    assert [nic["xdp"] for nic in nics if name in nic["interfaces"]] == ["zero-copy"]


def test_numbered_frames_come_back(pair):
    """All of them, and each once; they are also on the wire."""
    count = COUNT[pair.kind]
    words = ("--rx-port", pair.spec(1, "auto"), "--count", count, "--rate", "8k", "--json")
    sent = pair.guest.run(["uspnet", "pktgen", pair.spec(0), *words], timeout=PATIENCE_S)
    result = done(sent)
    assert (result["sent"], result["received"]) == (count, count)
    assert (result["lost"], result["duplicated"], result["missed"]) == (0, 0, None)
    assert ways(result) == ["transmit only, zero copy", "native, zero copy"]
    assert len(pair.wire.receive(count)) == count
    assert pair.is_free()


def test_frames_of_any_length_are_byte_equal(pair):
    """At QEMU's end of the wire, and at the other NIC."""
    guest, frames = pair.guest, distinct(1500)
    frames += [(frame * 30)[:length] for length in LONGEST for frame in distinct(9)[1:]]
    file, captured = guest.share / "in.pcap", guest.share / "captured"
    write_pcap(file, frames)
    words = ("--json", "--poll", "sleep", "-F", "pcap", "-w", captured)
    process = started(pair, "capture", pair.spec(1), *words)
    replayed = guest.run(
        ["uspnet", "pktgen", pair.spec(0), "--replay", file, "--rate", "3k", "--json"]
    )
    assert done(replayed)["sent"] == len(frames)
    assert pair.wire.receive(len(frames)) == frames
    until(lambda: received(guest) == len(frames), 30, 0.1, process.output)
    result = ended(process)
    assert (result["received"], result["written"]) == (len(frames), len(frames))
    assert ways(result)[0] == "native, zero copy"
    assert pcap_frames(captured) == frames
    assert pair.is_free()


@pytest.mark.everything
def test_a_kill_in_traffic_leaves_nothing_behind(pair):
    """Neither a program nor promiscuity, and the next one starts at once."""
    for _ in range(by_tier(2, 2, 20)):
        process = started(pair, "capture", pair.spec(1), "--json")
        pair.send(distinct(200))
        process.end()
        until(pair.is_free, 5, 0.1)
    words = ("--rx-port", pair.spec(1), "--count", 100, "--rate", "1k", "--json")
    result = done(pair.guest.run(["uspnet", "pktgen", pair.spec(0), *words]))
    assert (result["sent"], result["received"]) == (100, 100)


@pytest.mark.everything
def test_the_kernel_receives_while_a_job_only_sends(pair):
    """What comes in meanwhile goes through the memory of the job, to the kernel's stack."""
    process = started(pair, "pktgen", pair.spec(0), "--rate", "100", "--json")
    frames, capture = distinct(1000), pair.guest.share / "kernel"
    words = ("--filter", "ether proto 0x88b5", "-F", "pcap", "-w", capture, "--json")
    kernel = started(pair, "capture", f"packet:{pair.names[0]}", *words)
    pair.send(frames)
    until(lambda: received(pair.guest) >= len(frames), 20, 0.2, kernel.output)
    ended(kernel)
    assert pcap_frames(capture) == frames
    result = ended(process)
    assert ways(result) == ["transmit only, zero copy"]
    assert result["sent"] > 0
    assert pair.is_free()


@pytest.mark.everything
def test_it_goes_on_whatever_happens_to_its_interface(pair):
    name, total = pair.names[1], 0
    process = started(pair, "capture", pair.spec(1), "--json")

    def passes():
        nonlocal total
        pair.send(distinct(300))
        total += 300
        until(lambda: received(pair.guest) == total, 20, 0.2, process.output)

    passes()
    for change in ("down", "up", "mtu 1400", "mtu 1500"):
        ip(pair.guest, f"link set dev {name} {change}")
        if change != "down":
            at = f"/sys/class/net/{name}/carrier"
            until(lambda at=at: pair.guest.read(at) == "1\n", 30, 0.1)
            passes()
    result = ended(process)
    assert result["received"] == total
    assert ways(result) == ["native, zero copy"]
    assert pair.is_free()


@pytest.mark.parametrize("pair", ["igb"], indirect=True)
@pytest.mark.parametrize("rxvlan", ["on", "off"])
def test_vlan_tags_are_there_or_said_to_be_lost(pair, rxvlan):
    """igb takes them out, and tells no program of them, unless it is told to leave them."""
    name = pair.names[1]
    pair.guest.run(["ethtool", "-K", name, "rxvlan", rxvlan])
    frames, captured = distinct(50), pair.guest.share / "captured"
    tagged = [frame[:12] + b"\x81\x00\x60\x64" + frame[12:] for frame in frames]
    words = ("-F", "pcap", "-w", captured, "--json")
    process = started(pair, "capture", pair.spec(1), *words)
    pair.send(tagged)
    until(lambda: received(pair.guest) == len(tagged), 30, 0.1, process.output)
    (port,) = ended(process)["ports"]
    assert (LOST in port["how"]) == (rxvlan == "on")
    assert pcap_frames(captured) == (frames if rxvlan == "on" else tagged)


def test_forwarded_between_two_drivers_nothing_is_copied(recent_guest):
    """The buffer that one NIC has received into is the one that the other sends."""
    first, second = (Pair(recent_guest, kind) for kind in ZERO_COPY)
    process = started(first, "fwd", first.spec(0), second.spec(0), "--json")
    frames = distinct(1000)
    for source, sink in ((first, second), (second, first)):
        sink.wire.drain()
        source.send(frames)
        assert sink.wire.receive(len(frames)) == frames
    result = ended(process)
    assert (result["forwarded"], result["dropped"]) == (2 * len(frames), 0)
    assert ways(result) == ["native, zero copy"] * 2
