# SPDX-License-Identifier: Apache-2.0
"""xdp: the system calls that its loops make."""

from __future__ import annotations

import collections
import platform
import re
import sys

from uspnet.ports.xdp.port import Xdp
from uspnet.sandbox.calls import BASE

SENDS_BURSTS = tuple(map(int, re.findall(r"\d+", platform.release())[:2])) >= (6, 18)
BURST, BURSTS = 64 if SENDS_BURSTS else 32, 200  # the kernel copies 32 in a call, unless asked
LINE = re.compile(r"^\d+ +([a-z0-9_]+)\(")


def test_a_worker_may_make_few_calls():
    assert len(BASE | Xdp.calls) <= 20


def test_one_call_a_burst_to_send_and_none_to_receive(namespace, needs, tmp_path):
    """While it is busy; `strace` sees all threads."""
    needs("strace")
    namespace.veth("a", "b")
    trace = tmp_path / "trace"
    words = ("pktgen", "xdp:a", "--rx-port", "xdp:b", "--count", BURST * BURSTS, "--burst", BURST)
    command = ["strace", "-f", "-qq", "-e", "trace=sendto,recvfrom,sendmsg", "-o", str(trace)]
    command += [sys.executable, "-m", "uspnet", *map(str, words)]
    run = namespace.run(*command, "--poll", "busy", "--in-process", "--json")
    assert run.returncode == 0
    lines = [line for line in trace.read_text().splitlines() if "NULL, 0" in line]
    seen = collections.Counter(match[1] for line in lines if (match := LINE.match(line)))
    assert not any("EAGAIN" in line for line in lines), "not all of a burst was sent by one call"
    assert seen["recvfrom"] == 0
    assert BURSTS <= seen["sendto"] <= BURSTS * 2  # what has found no room is sent once more
