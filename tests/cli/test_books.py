# SPDX-License-Identifier: Apache-2.0
"""pktgen's books are closed whatever it sends, and whatever becomes of who receives it: drawn runs
through a forwarder in another process, which is killed at some moment of every second one.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress

import pytest

from tests.support.identity import answer
from tests.support.processes import children_of
from tests.support.tiers import by_tier
from tests.support.waiting import until
from tests.support.warm import Warm
from uspnet.telemetry import look

ROUNDS = by_tier(3, 6, 600)
SIZES = ["60", "1514", "60,61,1514", "random:60-90", "imix"]
FLOWS = ["--vary", "ip.dst=10.0.0.0/24", "--vary", "udp.dport=1-999", "--flows", "50"]
VARIES = [[], ["--vary", "ip.src=10.0.0.0/8:random"], ["--vary", "udp.sport=1024-65535"], FLOWS]
RATES = [[], ["--rate", "20k"], ["--rate", "300k"], ["--rate", "50k", "--poisson"],
         ["--burst-size", "40", "--burst-gap", "1ms"]]  # fmt: skip
PROCESSES = [[], [], ["--in-process"], ["--restart", "0"]]


class Forwarder:
    """`fwd`, which runs meanwhile in a process of its own."""

    def __init__(self):
        self.warm, self.thread, self.done = Warm(), None, None

    def start(self, words):
        def run():
            self.done = self.warm.run(words)

        self.done, self.thread = None, threading.Thread(target=run)
        self.thread.start()
        until(self.pids, 60)

    def pids(self):
        return children_of(self.warm.process.pid) if self.warm.process else []

    def die(self, sender, after_s):
        """Kill it some seconds after the first packet of a sender, which is named by its port."""

        def sends():
            ports = [port for job in look().jobs for port in job.ports]
            return any(port.port == sender and port.tx_packets for port in ports)

        def kill():
            with suppress(AssertionError):
                until(lambda: sends() or not self.pids(), 5, 0.002)
            time.sleep(after_s)
            self.end(signal.SIGKILL)

        threading.Thread(target=kill).start()

    def end(self, number):
        """End it by a signal; return what it said."""
        for pid in self.pids():
            os.kill(pid, number)
        self.thread.join()
        return self.done

    def close(self):
        if self.thread:
            self.end(signal.SIGKILL)
        self.warm.close()


@pytest.fixture(scope="module")
def forwarder():
    made = Forwarder()
    yield made
    made.close()


def drawn(chance, tmp_path, *, dies):
    """Ports and options of a run, and the forwarder's."""
    name, queues = f"@books-{os.getpid()}-{chance.getrandbits(64):x}", chance.choice([1, 1, 2])
    there, back = (f"memif:{name}-{way},queues={queues}" for way in ("there", "back"))
    ours, theirs = "", ",role=server"  # who is started first
    if dies and chance.choice([0, 1]):
        ours, theirs = theirs, ours
    ends = ["-c", str(chance.choice([1, 33, 1000, 20_000]))]
    if dies:
        ends = ["--duration", f"{chance.uniform(1, 2):.2f}"]
    words = ["pktgen", there + ours, "--rx-port", back + ours, *ends]
    for choices in (VARIES, RATES, PROCESSES):
        words += chance.choice(choices)
    words += ["--size", chance.choice(SIZES), "--burst", str(chance.choice([1, 32, 64]))]
    words += ["--cores", "0,1"] * (queues == 2 and len(os.sched_getaffinity(0)) > 1)
    words += ["--lost", str(tmp_path / "lost.pcapng")] * chance.choice([0, 1])
    words += ["--no-reconnect"] * (dies and chance.choice([0, 1]))
    return words, [
        "fwd",
        there + theirs,
        back + theirs,
        "--burst",
        str(chance.choice([1, 32])),
        "--json",
    ]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_every_packet_is_in_one_counter(uspnet, forwarder, tmp_path, seed):
    """`answer` checks the sums of each result; here, one is held against the other's."""
    chance, dies = random.Random(seed), seed % 2 == 1
    words, theirs = drawn(chance, tmp_path, dies=dies)
    forwarder.start(theirs)
    if dies:
        forwarder.die(words[1], chance.uniform(0, 0.5))
    done = uspnet(*words, "--json")
    passed = forwarder.end(signal.SIGTERM)
    assert "Traceback" not in done.stderr, done.stderr
    told = answer(done.stdout)
    if "sent" not in told:  # it was killed before it had connected
        assert dies, told
        return
    assert told["stale"] == told["foreign"] == told["duplicated"] == 0, words
    assert told["dropped"] <= told["unsent"]
    if file := told["lost_file"]:
        lost = sum(each["packets"] for each in told["losses"])
        assert file["written"] + file["not_written"] >= lost
    if dies:
        return
    assert done.returncode == 0, done.stderr
    other = answer(passed.stdout)
    assert other["received"] == told["sent"], words
    assert other["forwarded"] == told["received"], words
    assert told["lost"] == other["dropped"], words
    if told["ended"] == "count":
        assert told["offered"] == told["asked"]["count"]
