# SPDX-License-Identifier: Apache-2.0
"""`uspnet reflect` as the far end of pktgen: every packet comes back, and all of them are
accounted for at both ends.
"""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.support.identity import answer
from tests.support.processes import Running, children_named
from tests.support.waiting import until

NONE_LOST = ("lost", "duplicated", "reordered", "stale", "foreign", "unsent")


def nothing_lost(sent, back):
    assert [sent[name] for name in NONE_LOST] == [0] * len(NONE_LOST), sent
    assert sent["sent"] == sent["received"] == back["received"] == back["reflected"]
    assert sent["latency_ns"]["min"] > 0


@pytest.mark.parametrize("more", [["--rate", "50k"], []], ids=["at a rate", "at full speed"])
@pytest.mark.parametrize("swap", ["mac", "port"])
def test_round_trips_over_shared_memory(uspnet, tmp_path, swap, more):
    path = tmp_path / "m"
    words = ("--on-full", "wait", "--swap", swap)
    far = uspnet("reflect", f"memif:{path},role=server", *words)
    until(path.exists)
    near = uspnet("pktgen", f"memif:{path}", "--rx-port", f"memif:{path}", "-c", 30_000, *more)
    nothing_lost(near.result(), far.interrupt())


def test_several_queues_and_templates_come_back(uspnet, tmp_path):
    path = tmp_path / "m"
    far = uspnet("reflect", f"memif:{path},role=server,queues=2", "--on-full", "wait", "--cores=0")
    until(path.exists)
    port = f"memif:{path},queues=2"
    packets = "Ether()/IP(dst='10.0.0.1')/UDP(sport=[1,2,3])/('x'*30)"
    words = ("-c", 20_000, "--packet", packets, "--vary", "ip.src=10.1.0.0/16", "--rate", "50k")
    sent, back = uspnet("pktgen", port, "--rx-port", port, *words).result(), far.interrupt()
    assert [sent[name] for name in ("lost", "duplicated", "foreign", "unsent")] == [0] * 4, sent
    assert sent["sent"] == sent["received"] == back["reflected"] == 20_000


def test_round_trips_over_a_kernel_interface(namespace):
    namespace.veth("a", "b")
    far = namespace.start("reflect", "packet:b", "--swap", "port")
    words = ("--rate", "2k", "-c", "3000", "--fail-on-loss", "--json")
    done = namespace.uspnet("pktgen", "packet:a", "--rx-port", "packet:a", *words)
    nothing_lost(answer(done.stdout), far.end())


@pytest.mark.full
def test_packets_without_numbers_are_known_again_unless_addresses_changed(namespace):
    namespace.veth("a", "b")
    for swap, received in (("mac", 50), ("ip", 0)):
        far = namespace.start("reflect", "packet:b", "--swap", swap)
        words = ("--rate", "1k", "-c", "50", "--no-sequence", "--json")
        done = namespace.uspnet("pktgen", "packet:a", "--rx-port", "packet:a", *words)
        found = answer(done.stdout)
        assert (found["received"], found["foreign"]) == (received, 50 - received)
        assert far.end()["reflected"] == 50


def test_what_is_for_a_group_is_filtered_and_no_loss(namespace):
    namespace.veth("a", "b")
    words = ("reflect", "packet:b", "-c", "20", "--fail-on-loss")
    far = namespace.start(*words)
    namespace.uspnet("pktgen", "packet:a", "-c", "20", "--dst-mac", "ff:ff:ff:ff:ff:ff")
    code, out, _ = far.ends()
    found = answer(out)
    assert (code, found["reflected"], found["drops"]) == (0, 0, {"filtered": 20})


def test_it_asks_before_it_sends_to_the_interface_of_the_default_route(namespace):
    namespace.veth("a", "b")
    namespace.ip("address", "add", "10.9.0.1/24", "dev", "a")
    namespace.ip("route", "add", "default", "via", "10.9.0.2", "dev", "a")
    refused = namespace.uspnet("reflect", "packet:a", "-c", "1", check=False)
    assert refused.returncode == 3
    assert "default route" in refused.stderr
    assert "--yes" in refused.stderr


@pytest.mark.parametrize("end", ["upgraded", "killed"])
def test_packets_go_on_when_the_loops_are_replaced(namespace, end):
    """By another version of the code, or because their process has died."""
    namespace.veth("a", "b")
    far = namespace.start("reflect", "packet:b")
    words = ("--rate", "2k", "--duration", "3", "--json")
    near = Running(namespace.command(sys.executable, "-m", "uspnet", "pktgen", "packet:a",
                                     "--rx-port", "packet:a", *words))  # fmt: skip
    namespace.started.append(near.wait())
    until(lambda: far.count("tx_packets") > 500)
    if end == "killed":
        (worker,) = children_named(far.process.pid, "uspnet-worker")
        os.kill(worker, signal.SIGKILL)
    else:
        namespace.uspnet("upgrade", far.process.pid)
    _, out, _ = near.ends()
    sent, back = answer(out), far.end()
    assert (back["restarts"], back["upgrades"]) == ((1, 0) if end == "killed" else (0, 1))
    assert sent["lost"] <= (64 if end == "killed" else 0)
    assert back["reflected"] == sent["received"] == back["received"] - back["dropped"]
