# SPDX-License-Identifier: Apache-2.0
"""The process with the loops is killed while it drives a NIC through VFIO."""

import signal

import pytest

from tests.support.tiers import by_tier
from tests.vm.test_traffic import expected

KILLS = by_tier(3, 20)
# Kills its worker process.
KILL = """
import os, signal, sys
from pathlib import Path
def parent(status):
    return int(status.partition("\\nPPid:")[2].split()[0])
found = []
for folder in Path("/proc").iterdir():
    try:
        status = (folder / "status").read_text() if folder.name.isdigit() else ""
    except OSError:
        continue
    if status.startswith("Name:\\tuspnet-worker\\n") and parent(status) == int(sys.argv[1]):
        found.append(int(folder.name))
(worker,) = found
os.kill(worker, signal.SIGKILL)
print(worker)
"""


@pytest.mark.once("lab", "debian")
def test_a_fresh_worker_process_goes_on_with_the_device(guest, taken):
    wire, address = guest.wires["e1000e"], taken(guest, guest.address("e1000e"))
    for transport in guest.transports:
        spec = f"{address},transport={transport}"
        wire.drain()
        words = ["--rate", "500", "--size", 300, "--restart", KILLS, "--json", "--poll", "sleep"]
        process = guest.background(["uspnet", "pktgen", spec, *words])
        assert len(wire.receive(20, 60)) == 20, process.output()
        workers = set()
        for _ in range(KILLS):
            workers.add(guest.python(KILL, process.pid))
            wire.drain()
            frames = wire.receive(50, 60)
            assert frames == [expected(300)] * 50, process.output()
        process.signal(signal.SIGINT)
        result = process.wait()
        assert result.code == 0, result.err
        assert len(workers) == result.json()["restarts"] == KILLS
        assert "a new one goes on" in result.err
    assert not guest.messages(f"DMAR.*{address[5:]}.*fault")
