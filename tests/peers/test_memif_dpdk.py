# SPDX-License-Identifier: Apache-2.0
"""DPDK's testpmd on the other side of memif: both roles, with and without zero copy.

Tier `all` runs every frame size with each ring size from 2^1 to 2^14.
"""

from __future__ import annotations

import itertools
import os

import pytest

from tests.support.tiers import by_tier
from tests.support.waiting import until

SOME_RINGS, RINGS = [2, 64, 16384], [2**n for n in range(1, 15)]
SOME_SIZES, SIZES = [60, 1514, 9000], [60, 61, 64, 128, 256, 512, 1024, 1280, 1514, 9000]
SOME = list(zip(SOME_RINGS, SOME_SIZES, strict=True))
MORE = sorted({*itertools.product(SOME_RINGS, SOME_SIZES), *itertools.product([64], SIZES[::3])})
CASES = by_tier(SOME, MORE, list(itertools.product(RINGS, SIZES)))
COUNT = 100_000
MANY = 10_000_000
ROUND = by_tier(400_000, 1_000_000, MANY)
# By default it takes 155,456 buffers: more than all of its huge pages, when they are so long.
JUMBO = ["--mbuf-size=16384", "--total-num-mbufs=8192"]
RATE = "200k"  # testpmd drops what it has no room for: its ring holds 80 ms of this


def vdev(path, role, log2=10, bsize=2048, **more):
    extra = "".join(f",{key}={value}" for key, value in more.items())
    return (
        f"net_memif0,role={role},socket={path},socket-abstract=no,rsize={log2},bsize={bsize}{extra}"
    )


def everything_arrives(pmd, sender, count):
    """testpmd has received what uspnet says that it sent, and both say how much that is."""
    until(lambda: pmd.counters()["RX-packets"] >= count, 60)
    assert pmd.counters()["RX-packets"] == count
    result = sender.interrupt()  # it has done its work, and only stays for the counters
    assert result["sent"] == count
    assert result["exit"] == 0
    return result


@pytest.mark.full
def test_ten_million_packets_to_a_server(testpmd, uspnet, tmp_path):
    path = tmp_path / "m.sock"
    pmd = testpmd(vdev(path, "server"))
    sender = uspnet("pktgen", f"memif:{path}", "--count", MANY, "--cores", 0, "--linger", 60)
    everything_arrives(pmd, sender, MANY)


def test_ten_million_packets_from_a_server(testpmd, uspnet, tmp_path):
    path = tmp_path / "m.sock"
    sender = uspnet(
        "pktgen", f"memif:{path},role=server", "--count", MANY, "--cores", 0, "--linger", 60
    )
    until(path.exists)
    pmd = testpmd(vdev(path, "client"))
    everything_arrives(pmd, sender, MANY)


@pytest.mark.parametrize("zero", ["on", "off"])
def test_nothing_lost_or_doubled_round_a_server(testpmd, uspnet, tmp_path, zero):
    path = tmp_path / "m.sock"
    pmd = testpmd(vdev(path, "server", log2=14), "io")
    port = f"memif:{path},zero-copy={zero},ring=16384,frame=1522"
    loop = uspnet(
        "pktgen", port, "--rx-port", port, "--count", ROUND, "--rate", RATE, "--linger", 60
    )
    complete(loop, pmd)


@pytest.mark.parametrize("zero", ["yes", "no"])
def test_nothing_lost_or_doubled_round_a_client(testpmd, uspnet, tmp_path, zero):
    path = tmp_path / "m.sock"
    port = f"memif:{path},role=server"
    loop = uspnet(
        "pktgen", port, "--rx-port", port, "--count", ROUND, "--rate", RATE, "--linger", 60
    )
    until(path.exists)
    pmd = testpmd(vdev(path, "client", log2=14, **{"zero-copy": zero}), "io")
    complete(loop, pmd)


def complete(loop, pmd):
    """What is missing is what testpmd says that it dropped, and nothing came twice."""
    until(lambda: loop.counter("tx_packets") == ROUND, 30 + ROUND / 100_000)
    until(lambda: loop.counter("rx_packets") + pmd.dropped() == ROUND)
    dropped = pmd.dropped()
    result = loop.interrupt()
    assert result["exit"] == 0
    assert result["duplicated"] == result["unsent"] == 0
    assert result["received"] == ROUND - dropped
    assert result["lost"] == dropped


@pytest.mark.parametrize(
    ("zero", "ring", "size"),
    [
        (zero, *case)
        for zero in ("on", "off")
        for case in CASES
        if zero == "on" or case[0] * 2048 >= case[1]  # copying, a frame must fit into the ring
    ],
)
def test_a_client_of_any_ring_size(testpmd, uspnet, tmp_path, zero, ring, size):
    path = tmp_path / "m.sock"
    pmd = testpmd(vdev(path, "server", bsize=16384), options=JUMBO)
    sender = uspnet(
        "pktgen",
        f"memif:{path},ring={ring},zero-copy={zero},buffer=2048",
        "--size",
        size,
        "--count",
        COUNT,
        "--cores",
        0,
        "--linger",
        60,
    )
    everything_arrives(pmd, sender, COUNT)


@pytest.mark.parametrize(
    ("zero", "ring"),
    [
        (zero, ring)
        for zero in ("yes", "no")
        for ring in by_tier(SOME_RINGS, SOME_RINGS, RINGS)
        if zero == "no" or ring >= 64  # testpmd's zero-copy client wants so many slots
    ],
)
def test_a_server_for_any_ring_size(testpmd, uspnet, tmp_path, zero, ring):
    path = tmp_path / "m.sock"
    sink = uspnet("capture", f"memif:{path},role=server", "--cores", 0)
    until(path.exists)
    pmd = testpmd(client(path, ring, zero), "txonly")
    until(lambda: sink.counter("rx_packets") >= COUNT, 60)
    sent = stop_sending(pmd)
    until(lambda: sink.counter("rx_packets") >= sent, 60)
    result = sink.interrupt()
    assert result["received"] == sent
    assert result["ports"][0]["rx_bytes"] == 64 * sent
    assert not result["ports"][0]["rx_errors"]
    assert pmd.process.poll() is None


@pytest.mark.parametrize("zero", ["yes", "no"])
def test_a_capture_ends_at_its_count_while_testpmd_sends(testpmd, uspnet, tmp_path, zero):
    """Nothing about testpmd afterwards: see `stop_sending`."""
    path = tmp_path / "m.sock"
    sink = uspnet("capture", f"memif:{path},role=server", "--count", COUNT, "--cores", 0)
    until(path.exists)
    testpmd(client(path, 64, zero), "txonly")
    result = sink.result()
    assert (result["received"], result["ended"], result["exit"]) == (COUNT, "count", 0)
    assert result["ports"][0]["rx_bytes"] == 64 * COUNT
    assert not result["ports"][0]["rx_errors"]


def client(path, ring, zero):
    return vdev(path, "client", log2=ring.bit_length() - 1, **{"zero-copy": zero})


def stop_sending(pmd):
    """Stop testpmd's forwarding, and return how many packets it has sent.

    When the other side leaves, DPDK's memif_disconnect() unmaps the rings in its interrupt thread
    while the forwarding thread may be in eth_memif_tx(): nothing synchronizes the two (seen in
    22.11: SIGSEGV at `ring->flags`, right after the store to `ring->head`, the other thread in
    memif_free_regions()). A busy machine that takes the processor from the forwarding thread there
    shows it. Whoever looks at testpmd after uspnet has left stops it first.
    """
    pmd.ask("stop")
    pmd.until("Accumulated forward statistics")
    return pmd.counters()["TX-packets"]


def test_abstract_sockets_and_secrets(testpmd, uspnet):
    name = f"uspnet-test-{os.getpid()}"
    pmd = testpmd(f"net_memif0,role=server,socket={name},socket-abstract=yes,id=3,secret=abc")
    wrong = uspnet("pktgen", f"memif:@{name},id=3,secret=xyz").result()
    assert wrong["exit"] == 1
    assert "secret" in wrong["message"].lower() + wrong["hint"]
    sender = uspnet("pktgen", f"memif:@{name},id=3,secret=abc", "--count", 1000, "--linger", 60)
    everything_arrives(pmd, sender, 1000)
