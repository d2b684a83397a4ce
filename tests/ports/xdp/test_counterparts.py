# SPDX-License-Identifier: Apache-2.0
"""xdp: beside tools of other people's: xdp-tools' filter, which counts in the driver what we send,
and netsniff-ng's generator.
"""

from __future__ import annotations

import re
import sys

import pytest

from tests.support.identity import answer
from tests.support.tiers import by_tier, full

COUNT = by_tier(5_000, 1_000_000)
NUMBERED = by_tier(3_000, 100_000)
FILTER = """
mount -t bpf bpf /sys/fs/bpf
xdp-filter load -f udp -m native b && xdp-filter port -m dst -p udp 9 || exit
"$@"
xdp-filter status || true
"""


@pytest.fixture
def filtered(namespace, needs):
    """Runs a command while xdp-filter is on b, and drops UDP to port 9. Returns the run, the
    number of packets dropped, and that of those that passed.
    """
    needs("xdp-filter")
    namespace.veth("a", "b")

    def run(*words):
        words = (sys.executable, "-m", "uspnet", *words)
        done = namespace.run("sh", "-c", FILTER, "sh", *words)
        (dropped,) = re.findall(r"^ *9 +dst,udp +(\d+)", done.stdout, re.MULTILINE)
        (passed,) = re.findall(r"XDP_PASS +(\d+)", done.stdout)
        return done, int(dropped), int(passed)

    return run


@pytest.mark.parametrize("port", [9, *full(10)])
def test_xdp_filter_counts_exactly_what_was_sent(filtered, namespace, port):
    words = ("pktgen", "xdp:a", "--count", COUNT, "--vary", f"udp.dport={port}", "--json")
    run, *counted = filtered(*words)
    result = answer(run.stdout.partition("CURRENT XDP-FILTER")[0])
    assert (result["sent"], result["dropped"]) == (COUNT, 0)
    assert counted == ([COUNT, 0] if port == 9 else [0, COUNT])
    assert namespace.counted("b")["rx"]["packets"] == COUNT


def test_a_program_of_xdp_tools_is_left_alone(filtered):
    run, *counted = filtered("capture", "xdp:b", "--duration", 1)
    assert "ip link set dev b xdp off" in run.stderr
    assert counted == [0, 0]


def test_all_frames_of_trafgen_are_received(namespace, needs, tmp_path, wait_until):
    """Each has the next number, at a rate that a shared machine keeps up with."""
    needs("trafgen")
    needs("tshark")
    namespace.veth("a", "b")
    file = tmp_path / "x.pcapng"
    capture = namespace.start("capture", "xdp:b,ring=8192", "-w", file)
    frame = "{ 2,0,0,0,0,2, 2,0,0,0,0,1, 0x88,0xb5, dinc(0,255), fill(0, 45) }"
    words = ("--dev", "a", "--no-sock-mem", "--gap", "50us", "--num", NUMBERED, frame)
    assert f"{NUMBERED} packets outgoing" in namespace.run("trafgen", *words).stdout
    wait_until(lambda: capture.count("rx_packets") == NUMBERED)
    result = capture.end()
    assert (result["received"], result["missed"], result["written"]) == (NUMBERED, 0, NUMBERED)
    shown = namespace.run("tshark", "-r", file, "-T", "fields", "-e", "data.data").stdout.split()
    assert [int(data[:2], 16) for data in shown] == [(n + 1) % 256 for n in range(NUMBERED)]
