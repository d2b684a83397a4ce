# SPDX-License-Identifier: Apache-2.0
"""Latency through a known delay: no packet is faster. bench/latency.py has how near they are."""

from __future__ import annotations

import contextlib
import subprocess

import pytest

from tests.support.identity import answer
from tests.support.waiting import until

DELAY_MS, PACKETS = 20, 20
NS_A_MS = 1_000_000


@contextlib.contextmanager
def netem(namespace):
    """The kernel's bridge, and netem behind it."""
    delay = ("netem", "delay", f"{DELAY_MS}ms")
    try:
        namespace.run("tc", "qdisc", "add", "dev", "d", "root", *delay)
        namespace.ip("link", "add", "br", "type", "bridge")
    except subprocess.CalledProcessError:
        pytest.skip("the kernel has no sch_netem, or no bridge")
    for name in ("b", "d"):
        namespace.ip("link", "set", name, "master", "br")
    namespace.ip("link", "set", "br", "up")
    yield


@contextlib.contextmanager
def impair(namespace):
    """Our own forwarder."""
    delay = ("--mode", "impair", "--delay", f"{DELAY_MS}ms")
    running = namespace.start("fwd", "packet:b", "packet:d", *delay)
    yield
    running.end()


@pytest.mark.full
@pytest.mark.parametrize("delayed", [netem, impair])
def test_no_packet_is_faster_than_what_delays_it(namespace, delayed):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    words = ("--rx-port", "packet:c", "--rate", "200", "-c", PACKETS, "--json")
    with delayed(namespace):
        until(lambda: came_back(namespace))
        told = answer(namespace.uspnet("pktgen", "packet:a", *words).stdout)
    assert (told["received"], told["lost"], told["reordered"]) == (PACKETS, 0, 0)
    # the minimum is a slot's smallest value, to 0.8 %
    assert DELAY_MS * NS_A_MS * 0.99 < told["latency_ns"]["min"] <= told["latency_ns"]["p50"]


def came_back(namespace):
    """Whether packets are forwarded by now."""
    words = ("pktgen", "packet:a", "--rx-port", "packet:c", "-c", 1, "--json")
    return answer(namespace.uspnet(*words).stdout)["received"] == 1
