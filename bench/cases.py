# SPDX-License-Identifier: Apache-2.0
"""The cases: what is measured, with which contestants. Each contestant is one short function.

Frames are 60 bytes without FCS (64 on the wire), but for `memif-imix`. Sources run on core 0, sinks
on core 1, each process with all its threads on its one core. Where a source meets a sink, the rate
is taken at the sink, over the same seconds, while both run.
size: one short function a contestant; they are read side by side.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import attached
import disk
import filters
import large
import modes
import routes
import tool
from compiled import compiled
from lab import BenchError, Process, need, pinned, place, received_by, veth
from testpmd import Testpmd, memif

from tests.support.captures import write_pcap

SOURCE, SINK = 0, 1  # cores
SETTLE_S = 0.3  # from the first packet to the start of the measurement
NULLS = ["net_null0,size=60", "net_null1,size=60"]
SIZE = ["--txpkts=60"]
CAPTURED = 100_000  # packets of a file that is replayed
ROUTES, PACKETS = 100_000, 10_000  # prefixes; packets of a file
REPLAYED_MIB, FILTERED_MIB = 1024, 256
RULES = [word for rule in modes.RULES for word in ("--rule", rule)]
FILTER = "ether[0] = ether[1] and ether[20] = ether[59]"  # true of large.records
CAPTURED_FRAME = bytes.fromhex("020000000002 020000000001 88b5") + bytes(46)
FILE_SECONDS = 1.5  # of writing at full speed: below 3 GB of packets in memory
SEARCH_STEPS = 6
LATE_S = 0.003  # of packets still to be sent when time is up: one turn of the scheduler
BUSY = ("--poll", "busy")
VARIED = ("ip.src=10.0.0.0/16", "ip.dst=10.1.0.0/16:random", "udp.sport=1024-65535:random",
          "udp.dport=1-1000")  # fmt: skip
FOUR_FIELDS = [word for text in VARIED for word in ("--vary", text)]
RECORD = 28 + 60 + 4  # bytes of an Enhanced Packet Block around 60
CHUNK = 1 << 18  # bytes that uspnet's writer hands to write() when there is much to do
WRITE_ALONE = """
import os, sys, time
file, seconds, chunk = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), *map(float, sys.argv[2:])
data, done, start = bytes(int(chunk)), 0, time.monotonic()
while (now := time.monotonic()) < start + seconds:
    done += os.write(file, data)
print(done / (now - start))
"""


@dataclass
class Sample:
    """One measurement: the rate that is compared, and what else it showed."""

    pps: float
    more: dict[str, float] = field(default_factory=dict)


Contestant = Callable[[float], Sample]  # takes seconds


@dataclass(frozen=True)
class Case:
    """uspnet beside its yardstick. `also` is measured for information, without a target."""

    name: str
    title: str
    target: float  # the least ratio of ours to theirs
    ours: Contestant
    theirs: Contestant
    rival: str
    also: dict[str, Contestant] = field(default_factory=dict)
    two_cores: bool = False  # compared with the ceiling too
    most_s: float = 60.0


# -- null: the loop itself -----------------------------------------------------------------------


def null_ours(seconds: float) -> Sample:
    """`uspnet fwd null: null:`."""
    result = tool.run("fwd", "null:", "null:", *BUSY, seconds=seconds, core=SOURCE)
    return Sample(result["pps"])


def null_theirs(seconds: float) -> Sample:
    """Start a testpmd that forwards between two null ports."""
    with Testpmd("io", NULLS, SOURCE) as both:
        return Sample(both.rates(seconds).tx)


# -- route ---------------------------------------------------------------------------------------


def route_ours(seconds: float) -> Sample:
    """Route packets of a file, which is read again and again, by a table of as many prefixes."""
    with place("routes") as table, place("x.pcap", "/dev/shm") as file:
        addresses = routes.write_routes(table, ROUTES)[:PACKETS]
        write_pcap(file, [*map(routes.frame_to, addresses)])
        ports = (f"pcap:{file},loop=on", "null:")
        words = ("--mode", "route", "--routes", str(table), *BUSY)
        result = tool.run("fwd", *ports, *words, seconds=seconds, core=SOURCE)
        return Sample(result["pps"], {"dropped": result["dropped"]})


def route_theirs(seconds: float) -> Sample:
    """Have testpmd write MAC addresses into the packets of the same file, from memory."""
    with place("routes") as table, place("x.pcap", "/dev/shm") as file:
        addresses = routes.write_routes(table, ROUTES)[:PACKETS]
        write_pcap(file, [*map(routes.frame_to, addresses)])
        return testpmd_mac(file, seconds)


def testpmd_mac(file: Path, seconds: float) -> Sample:
    """Start a testpmd that writes MAC addresses into the packets of a file."""
    ports = [f"net_pcap0,rx_pcap={file},infinite_rx=1", NULLS[1]]
    with Testpmd("mac", ports, SOURCE) as both:
        time.sleep(SETTLE_S)
        return Sample(both.rates(seconds).tx)


# -- other modes of fwd --------------------------------------------------------------------------


def between(one: Path, other: Path, seconds: float) -> Sample:
    """Our generator into one end of a forwarder, and back from the other."""
    ports = (f"memif:{one},role=client", "--rx-port", f"memif:{other},role=client")
    words = ("--no-sequence", "--dst-port", 80, *BUSY)
    result = tool.run("pktgen", *ports, *words, seconds=seconds, core=SOURCE)
    return Sample(result["received"] / result["elapsed_s"], {"lost": result["lost"]})


def forwarding(*words: str) -> Contestant:
    """Our forwarder between two memifs, in some mode."""

    def measure(seconds: float) -> Sample:
        with place("a.sock") as one, place("b.sock") as other:
            ports = [f"memif:{each},role=server" for each in (one, other)]
            with tool.Uspnet("fwd", *ports, *words, *BUSY, core=SINK) as middle:
                wait_for(other)
                found = between(one, other, seconds)
                middle.stop()
        return found

    return measure


def switch_theirs(seconds: float) -> Sample:
    """Start a testpmd that writes MAC addresses, and forwards to the other memif."""
    with (
        place("a.sock") as one,
        place("b.sock") as other,
        Testpmd("mac", [memif(each, "server") for each in (one, other)], SINK),
    ):
        return between(one, other, seconds)


# -- memif ---------------------------------------------------------------------------------------


def pktgen(socket: Path, seconds: float, *words: str) -> tool.Uspnet:
    """Our generator as a memif client with zero copy, on its way."""
    port = f"memif:{socket},role=client"
    return tool.Uspnet("pktgen", port, *BUSY, *words, "--duration", seconds, core=SOURCE)


def counting(socket: Path) -> tool.Uspnet:
    """Our capture as a memif server that counts."""
    return tool.Uspnet("capture", f"memif:{socket},role=server", *BUSY, core=SINK)


def wait_for(socket: Path) -> None:
    """Wait until a server listens there."""
    deadline = time.monotonic() + tool.END_S
    while not socket.exists():
        if time.monotonic() > deadline:
            raise BenchError(f"nobody listens on {socket}")
        time.sleep(0.02)


def into_testpmd(seconds: float) -> Sample:
    """Our generator into a testpmd that counts."""
    with (
        place("memif.sock") as socket,
        Testpmd("rxonly", [memif(socket, "server")], SINK) as sink,
        pktgen(socket, seconds + 2 * SETTLE_S + 0.5) as source,
    ):
        sink.wait_for_traffic()
        time.sleep(SETTLE_S)
        rates = sink.rates(seconds)
        result = source.result(1.0)
    return Sample(rates.rx, {"ring_full_share": result["found_ring_full"] / result["offered"]})


def between_testpmds(mode: str) -> Contestant:
    """Run a testpmd that generates (txonly or flowgen) into a testpmd that counts."""

    def measure(seconds: float) -> Sample:
        with (
            place("memif.sock") as socket,
            Testpmd("rxonly", [memif(socket, "server")], SINK) as sink,
            Testpmd(mode, [memif(socket, "client")], SOURCE, more=SIZE) as source,
        ):
            time.sleep(SETTLE_S)
            rates = sink.rates(seconds)
            sent, dropped = source.sent_and_dropped()
            return Sample(rates.rx, {"ring_full_share": dropped / max(sent + dropped, 1)})

    return measure


def between_ours(*words: str) -> Contestant:
    """Our generator into uspnet's capture, which counts."""

    def measure(seconds: float) -> Sample:
        with place("memif.sock") as socket, counting(socket) as sink:
            wait_for(socket)
            with pktgen(socket, seconds, *words) as source:
                sent = source.result(seconds)
            received = sink.stop()["received"]
            lost = sent["sent"] - received
            full = sent["found_ring_full"] / max(sent["offered"], 1)
        return Sample(received / sent["elapsed_s"], {"lost": lost, "ring_full_share": full})

    return measure


def replay_into_ours(seconds: float, *, blocks: bool = False) -> Sample:
    """Our replay of a file of 1 GiB into uspnet's capture, which counts."""
    with large.capture(REPLAYED_MIB, len(CAPTURED_FRAME), blocks=blocks) as file:
        words = ("--replay", str(file), "--topspeed", "--loop", "forever")
        return between_ours(*words)(seconds)


def filter_ours(seconds: float) -> Sample:
    """Our replay to nowhere, with a filter that looks into each packet, and accepts it."""
    with large.capture(FILTERED_MIB, len(CAPTURED_FRAME)) as file:
        words = ("--replay", str(file), "--topspeed", "--loop", "forever", "--filter", FILTER)
        result = tool.run("pktgen", "null:", *words, *BUSY, seconds=seconds, core=SOURCE)
    return Sample(result["pps"])


def filter_theirs(_seconds: float) -> Sample:
    """Run tcpdump once on the same file, with the same filter, also to nowhere."""
    need("tcpdump")
    with large.capture(FILTERED_MIB, len(CAPTURED_FRAME)) as file:
        packets = file.stat().st_size // (large.RECORD_HEADER + len(CAPTURED_FRAME))
        begin = time.perf_counter()
        command = pinned(["tcpdump", "-r", str(file), "-w", "/dev/null", FILTER], SOURCE)
        done = subprocess.run(command, capture_output=True, check=False)
        elapsed = time.perf_counter() - begin
    if done.returncode:
        raise BenchError(f"tcpdump failed: {done.stderr.decode()}")
    return Sample(packets / elapsed)


def counting_through(text: str) -> Contestant:
    """Our generator of mixed traffic into our capture, which counts what a filter accepts."""
    return lambda seconds: Sample(filters.rate(filters.NATIVE, text, seconds, (SOURCE, SINK)))


# -- capture to a file in memory -----------------------------------------------------------------


def capture_trial(seconds: float, rate: float = 0) -> dict[str, float]:
    """Our generator, paced when `rate` is given, into uspnet's capture to a file."""
    paced = ["--rate", f"{rate:.0f}pps"] if rate else []
    with place("memif.sock") as socket, place("x.pcapng", "/dev/shm") as file:
        port = f"memif:{socket},role=server"
        with tool.Uspnet("capture", port, "-w", str(file), *BUSY, core=SINK) as sink:
            wait_for(socket)
            with pktgen(socket, seconds, *paced) as source:
                sent = source.result(seconds)
            got = sink.stop()
    return {
        "elapsed_s": sent["elapsed_s"],
        "unsent": sent["unsent"],
        "lost": sent["sent"] - got["received"],
        "dropped": got["dropped"],
        "written": got["written"],
        "unaccounted": got["received"] - got["written"] - got["dropped"],
    }


def file_ours(seconds: float) -> Sample:
    """As fast as it goes: packets written a second."""
    trial = capture_trial(seconds)
    shown = {name: trial[name] for name in ("lost", "dropped", "unaccounted")}
    return Sample(trial["written"] / trial["elapsed_s"], shown)


def file_lossless(seconds: float) -> Sample:
    """Find the highest rate without drops and loss, by bisection. The generator must keep
    it up; but worker and writer take turns on the sink's one core, and it may end in one.
    """
    high = file_ours(seconds).pps
    low = 0.0
    rate = high
    for _ in range(SEARCH_STEPS):
        trial = capture_trial(seconds, rate)
        if trial["dropped"] or trial["lost"] or trial["unsent"] > rate * LATE_S:
            high = rate
        else:
            low = rate
            if rate >= high:
                break
        rate = (low + high) / 2
    return Sample(low)


def file_theirs(seconds: float) -> Sample:
    """Run a testpmd that generates into one that forwards from memif to a capture file."""
    with place("memif.sock") as socket, place("x.pcap", "/dev/shm") as file:
        ports = [memif(socket, "server"), f"net_pcap0,tx_pcap={file}"]
        with (
            Testpmd("io", ports, SINK) as sink,
            Testpmd("txonly", [memif(socket, "client")], SOURCE, more=SIZE),
        ):
            time.sleep(SETTLE_S)
            return Sample(sink.rates(seconds).tx)


def file_alone(seconds: float) -> Sample:
    """Measure the file system: the same records from one warm buffer, by write() alone."""
    with place("x", "/dev/shm") as file:
        command = [sys.executable, "-c", WRITE_ALONE, str(file), str(seconds), str(CHUNK)]
        with Process(command, SINK) as writer:
            rate = float(writer.line(time.monotonic() + seconds + tool.END_S))
    return Sample(rate / RECORD)


def disk_ours(seconds: float) -> Sample:
    """Capture to a file on a disk, past the page cache."""
    found = disk.ours(seconds, (SOURCE, SINK))
    return Sample(found.pop("bytes_s") / disk.RECORD, found)


def disk_buffered(seconds: float) -> Sample:
    """Capture to the same through the page cache."""
    found = disk.ours(seconds, (SOURCE, SINK), "--writing", "buffered")
    return Sample(found.pop("bytes_s") / disk.RECORD, found)


def disk_theirs(seconds: float) -> Sample:
    """Have dd write zeros there, past the page cache."""
    return Sample(disk.dd(seconds, SINK) / disk.RECORD)


# -- a veth pair, through the kernel -------------------------------------------------------------


def arriving(netns: str, seconds: float) -> float:
    """Packets a second that the kernel sees arrive on b1."""
    time.sleep(SETTLE_S)
    before, start = received_by(netns, "b1"), time.monotonic()
    time.sleep(seconds)
    return (received_by(netns, "b1") - before) / (time.monotonic() - start)


def wait_for_traffic(netns: str) -> None:
    """Wait until packets arrive on b1."""
    start, deadline = received_by(netns, "b1"), time.monotonic() + tool.END_S
    while received_by(netns, "b1") < start + 1000:
        if time.monotonic() > deadline:
            raise BenchError("no packets arrive on b1")
        time.sleep(0.05)


def packet_tx_ours(seconds: float, port: str = "packet:b0") -> Sample:
    """Our generator on an AF_PACKET port."""
    with veth() as netns, ExitStack() as stack:
        words = ("pktgen", port, *BUSY, "--duration", seconds + tool.END_S)
        source = stack.enter_context(tool.Uspnet(*words, core=SOURCE, netns=netns))
        wait_for_traffic(netns)
        rate = arriving(netns, seconds)
        source.stop()
        return Sample(rate)


def packet_tx_theirs(seconds: float, port: str = "net_af_packet0,iface=b0") -> Sample:
    """Run a testpmd that generates on net_af_packet."""
    with veth() as netns, Testpmd("txonly", [port], SOURCE, netns=netns, more=SIZE):
        wait_for_traffic(netns)
        return Sample(arriving(netns, seconds))


def xdp_tx_ours(seconds: float) -> Sample:
    """Our generator on an AF_XDP port."""
    return packet_tx_ours(seconds, "xdp:b0")


def xdp_tx_theirs(seconds: float) -> Sample:
    """Run a testpmd that generates on net_af_xdp."""
    return packet_tx_theirs(seconds, "net_af_xdp0,iface=b0")


def xdp_rx_ours(seconds: float) -> Sample:
    """Our capture on an AF_XDP port counts what trafgen sends."""
    return packet_rx_ours(seconds, "xdp:b1")


def xdp_rx_theirs(seconds: float) -> Sample:
    """DPDK's net_af_xdp counts what trafgen sends."""
    return packet_rx_theirs(seconds, "net_af_xdp0,iface=b1")


def xdp_tx_loop(seconds: float) -> Sample:
    """Send by a C program that does no more than that."""
    with veth() as netns, Process([compiled("xdp_loop.c"), "tx", "b0"], SOURCE, netns) as source:
        wait_for_traffic(netns)
        rate = arriving(netns, seconds)
        source.interrupt()
        return Sample(rate)


def xdp_rx_loop(seconds: float) -> Sample:
    """Count what trafgen sends by a C program that does no more than that."""
    with veth() as netns, trafgen(netns) as source:
        wait_for_traffic(netns)
        with Process([compiled("xdp_loop.c"), "rx", "b1", str(seconds)], SINK, netns) as sink:
            rate = float(sink.line(time.monotonic() + seconds + tool.END_S))
        source.interrupt()
        return Sample(rate)


def xdp_queues(port: str, cores: str) -> Contestant:
    """Our generator on some queues of an AF_XDP port, each with a core of its own."""

    def measure(seconds: float) -> Sample:
        with veth(queues=2) as netns, ExitStack() as stack:
            words = ("pktgen", port, *BUSY, "--cores", cores, "--duration", seconds + tool.END_S)
            source = stack.enter_context(tool.Uspnet(*words, core="0,1", netns=netns))
            wait_for_traffic(netns)
            rate = arriving(netns, seconds)
            source.stop()
            return Sample(rate)

    return measure


def trafgen(netns: str) -> Process:
    """netsniff-ng's generator, as fast as it goes."""
    need("trafgen")
    frame = "{ 2,0,0,0,0,2, 2,0,0,0,0,1, 8,0, fill(0, 46) }"
    command = ["trafgen", "--dev", "b0", "--cpus", "1", "--no-sock-mem", frame]
    return Process(command, SOURCE, netns)


def packet_tx_trafgen(seconds: float) -> Sample:
    """Measure what trafgen sends on the same veth."""
    with veth() as netns, trafgen(netns) as source:
        wait_for_traffic(netns)
        rate = arriving(netns, seconds)
        source.interrupt()
        return Sample(rate)


def replay_ours(seconds: float) -> Sample:
    """Our replay of a file on an AF_PACKET port, again and again."""
    with veth() as netns, place("x.pcap", "/dev/shm") as file, ExitStack() as stack:
        write_pcap(file, [CAPTURED_FRAME] * CAPTURED)
        words = ("--replay", str(file), "--topspeed", "--loop", "forever", *BUSY)
        source = tool.Uspnet("pktgen", "packet:b0", *words, core=SOURCE, netns=netns)
        stack.enter_context(source)
        wait_for_traffic(netns)
        rate = arriving(netns, seconds)
        source.stop()
        return Sample(rate)


def replay_theirs(seconds: float) -> Sample:
    """Run tcpreplay on the same file, which it has read into memory before."""
    need("tcpreplay")
    with veth() as netns, place("x.pcap", "/dev/shm") as file, ExitStack() as stack:
        write_pcap(file, [CAPTURED_FRAME] * CAPTURED)
        command = ["tcpreplay", "--topspeed", "--loop=0", "--preload-pcap", "-i", "b0", str(file)]
        source = stack.enter_context(Process(command, SOURCE, netns))
        wait_for_traffic(netns)
        rate = arriving(netns, seconds)
        source.interrupt()
        return Sample(rate)


def replay_trafgen(seconds: float) -> Sample:
    """Run trafgen on the same file, which it has read into memory before."""
    need("trafgen")
    with veth() as netns, place("x.pcap", "/dev/shm") as file, ExitStack() as stack:
        write_pcap(file, [CAPTURED_FRAME] * CAPTURED)
        command = ["trafgen", "--in", str(file), "--dev", "b0", "--cpus", "1", "--no-sock-mem"]
        source = stack.enter_context(Process(command, SOURCE, netns))
        wait_for_traffic(netns)
        rate = arriving(netns, seconds)
        source.interrupt()
        return Sample(rate)


def packet_rx_ours(seconds: float, port: str = "packet:b1") -> Sample:
    """Our capture counts what trafgen sends. It sleeps when it has nothing to do, as netsniff-ng
    does: the sender's core does the kernel's work, and a core beside it that spins slows it down.
    """
    with veth() as netns, trafgen(netns) as source:
        wait_for_traffic(netns)
        result = tool.run("capture", port, seconds=seconds, core=SINK, netns=netns)
        source.interrupt()
        return Sample(result["pps"])


def packet_rx_theirs(seconds: float, port: str = "net_af_packet0,iface=b1") -> Sample:
    """DPDK counts what trafgen sends."""
    with veth() as netns, trafgen(netns) as source:
        wait_for_traffic(netns)
        with Testpmd("rxonly", [port], SINK, netns=netns) as sink:
            rate = sink.rates(seconds).rx
        source.interrupt()
        return Sample(rate)


def packet_rx_netsniff(seconds: float) -> Sample:
    """Measure what netsniff-ng writes to /dev/null of what trafgen sends. It counts packets that
    came before its own clock started: what arrives meanwhile counts here, less what it dropped.
    """
    need("netsniff-ng")
    ring = ["--ring-size", "64MiB"]  # its default takes it a second to make
    command = ["netsniff-ng", "--in", "b1", "--out", "/dev/null", "--silent", "--no-sock-mem"]
    with veth() as netns, trafgen(netns) as source:
        wait_for_traffic(netns)
        with Process([*command, *ring], SINK, netns) as sink:
            said, deadline = "", time.monotonic() + tool.END_S
            while "Running" not in said:
                said += sink.line(deadline)
            rate = arriving(netns, seconds)
            sink.interrupt()
            deadline = time.monotonic() + tool.END_S
            while "in total" not in said:
                said += sink.line(deadline)
        source.interrupt()
        dropped = re.search(r"([\d.]+)% packet droprate", said)
        assert dropped
        return Sample(rate * (1 - float(dropped[1]) / 100))


# -- attach --------------------------------------------------------------------------------------


def attach_tcp(*words: str) -> Contestant:
    """TCP of two kernels through two `uspnet attach`."""
    return lambda seconds: Sample(attached.through_attach(seconds, *words))


def veth_tcp(seconds: float) -> Sample:
    """TCP of two kernels over a veth pair, with its offloads."""
    return Sample(attached.through_veth(seconds))


ATTACH = f"iperf3 TCP through attach and memif, segments of {attached.SEGMENT:,} bytes, two cores"
XDP_RX, XDP_LOOP = "AF_XDP on veth: count what trafgen sends", "the least C loop, xdp_loop.c"
MEMIF_TX = "memif: generator into a testpmd that counts"
MEMIF_MEMIF = "memif: generator into counter"
CAPTURE = "memif: generator into capture file on tmpfs, written"
FLOWGEN = {"testpmd flowgen": between_testpmds("flowgen")}

CASES = [
    Case("null", "forward null to null, one core", 2, null_ours, null_theirs, "testpmd io"),
    Case(
        "route",
        f"packets of a file, by {ROUTES:,} IPv4 prefixes, one core",
        0.8,
        route_ours,
        route_theirs,
        "testpmd mac",
    ),
    Case(
        "switch",
        "forward between two memifs by MAC addresses, one core",
        1,
        forwarding("--mode", "switch", "--storm-limit", "1Gpps"),
        switch_theirs,
        "testpmd mac",
    ),
    Case(
        "rules",
        f"forward between two memifs by {len(modes.RULES)} rules, one core",
        0.5,
        forwarding("--mode", "filter", *RULES),
        forwarding(),
        "uspnet fwd without rules",
    ),
    Case(
        "memif-tx",
        MEMIF_TX,
        1,
        into_testpmd,
        between_testpmds("txonly"),
        "testpmd txonly",
        also=FLOWGEN,
        two_cores=True,
    ),
    Case(
        "memif-memif",
        MEMIF_MEMIF,
        2,
        between_ours(),
        between_testpmds("txonly"),
        "testpmd txonly",
        also=FLOWGEN,
        two_cores=True,
    ),
    Case(
        "memif-sequence",
        f"{MEMIF_MEMIF}, each payload written",
        1,
        between_ours("--sequence"),
        between_testpmds("flowgen"),
        "testpmd flowgen",
        two_cores=True,
    ),
    Case(
        "memif-fields",
        f"{MEMIF_MEMIF}, 4 fields vary, 2 checksums follow",
        2,
        between_ours(*FOUR_FIELDS),
        between_testpmds("flowgen"),
        "testpmd flowgen",
        also={"each payload written instead": between_ours("--sequence")},
        two_cores=True,
    ),
    Case(
        "memif-imix",
        f"{MEMIF_MEMIF}, sizes of an IMIX, 350 bytes on average",
        0.8,
        between_ours("--size", "imix"),
        between_ours("--size", "350"),
        "uspnet, 350 bytes each",
    ),
    Case(
        "memif-replay",
        f"{MEMIF_MEMIF}, a file of {REPLAYED_MIB} MiB is replayed",
        0.5,
        replay_into_ours,
        between_ours(),
        "uspnet, copies of one frame",
        also={
            "the same as pcapng": partial(replay_into_ours, blocks=True),
            "each payload written instead": between_ours("--sequence"),
        },
    ),
    Case(
        "replay-filter",
        "null: replay a file through a filter",
        1,
        filter_ours,
        filter_theirs,
        "tcpdump -r -w /dev/null",
    ),
    Case(
        "filter",
        f"{MEMIF_MEMIF}, mixed traffic, all rejected by a filter",
        0.8,
        counting_through(filters.REJECTS_ALL),
        counting_through(""),
        "uspnet without a filter",
    ),
    Case(
        "capture-file",
        CAPTURE,
        5,
        file_ours,
        file_theirs,
        "testpmd net_pcap",
        also={"write() of the same records, nothing else": file_alone},
        two_cores=True,
        most_s=FILE_SECONDS,
    ),
    Case(
        "capture-lossless",
        f"{CAPTURE}, nothing lost",
        1,
        file_lossless,
        file_theirs,
        "testpmd net_pcap",
        two_cores=True,
        most_s=FILE_SECONDS,
    ),
    Case(
        "capture-disk",
        f"memif: generator, {disk.FRAME} bytes, into capture file on a disk, written",
        0.9,
        disk_ours,
        disk_theirs,
        "dd oflag=direct bs=1M",
        also={"uspnet through the page cache": disk_buffered},
        most_s=FILE_SECONDS,
    ),
    Case(
        "packet-tx",
        "AF_PACKET on veth: generate",
        1,
        packet_tx_ours,
        packet_tx_theirs,
        "testpmd txonly",
        also={"trafgen": packet_tx_trafgen},
    ),
    Case(
        "xdp-tx",
        "AF_XDP on veth: generate",
        1.1,
        xdp_tx_ours,
        xdp_tx_theirs,
        "testpmd txonly",
    ),
    Case("xdp-tx-loop", "AF_XDP on veth: generate", 1, xdp_tx_ours, xdp_tx_loop, XDP_LOOP),
    Case(
        "xdp-tx-packet",
        "AF_XDP on veth: generate",
        1.5,
        xdp_tx_ours,
        packet_tx_ours,
        "uspnet on AF_PACKET",
    ),
    Case(
        "xdp-queues",
        "AF_XDP on veth: generate by two queues on two cores",
        1.5,
        xdp_queues("xdp:b0", "0,1"),
        xdp_queues("xdp:b0,queues=0", "0"),
        "one queue, one core",
    ),
    Case(
        "xdp-rx",
        XDP_RX,
        1.1,
        xdp_rx_ours,
        xdp_rx_theirs,
        "testpmd rxonly",
        also={"uspnet on AF_PACKET": packet_rx_ours},
    ),
    Case("xdp-rx-loop", XDP_RX, 1, xdp_rx_ours, xdp_rx_loop, XDP_LOOP),
    Case(
        "packet-replay",
        "AF_PACKET on veth: replay a file",
        1,
        replay_ours,
        replay_theirs,
        "tcpreplay --topspeed",
        also={"trafgen": replay_trafgen},
    ),
    Case(
        "packet-rx",
        "AF_PACKET on veth: count",
        1,
        packet_rx_ours,
        packet_rx_theirs,
        "testpmd rxonly",
        also={"netsniff-ng": packet_rx_netsniff},
    ),
    Case(
        "attach-tcp",
        f"{ATTACH}, beside no interfaces of ours",
        0.5,
        attach_tcp(),
        veth_tcp,
        "veth with its offloads",
    ),
    Case(
        "attach-offload",
        f"{ATTACH}, beside the same without offloads",
        4,
        attach_tcp(),
        attach_tcp("--no-offload"),
        "uspnet attach --no-offload",
    ),
]
