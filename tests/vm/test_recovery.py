# SPDX-License-Identifier: Apache-2.0
"""The process with the loops is killed while it drives a NIC through VFIO, or writes where it must
not.
"""

import signal

import pytest

from tests.support.tiers import by_tier
from tests.vm.test_traffic import expected, pktgen

KILLS = by_tier(3, 6, 20)
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
# Its rings find their doorbells at address 16.
WILD = """
import sys
from uspnet.fastpath import ffi
from uspnet.transports.mapped import MappedBar
def doorbell(self, offset, size=4, *, sends=False):
    return {"mmio": ffi.cast("uint8_t *", 16), "bytes": size, "wire_fd": -1}
MappedBar.doorbell = doorbell
from uspnet.cli import main
sys.argv = ["uspnet", *sys.argv[1:]]
sys.exit(main())
"""
NOTHING = ("lost", "duplicated", "reordered", "foreign", "dropped", "restarts")


@pytest.mark.full
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


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_a_ring_with_a_wild_pointer_disturbs_nobody(guest, taken):
    wire, address = guest.wires["e1000e"], taken(guest, guest.address("e1000e"))
    others = [taken(guest, guest.address("virtio-net", number)) for number in (0, 1)]
    words = ["--rate", "300", "--json", "--poll", "sleep"]
    other = guest.background(["uspnet", "pktgen", others[0], "--rx-port", others[1], *words])
    assert guest.wires["virtio-net"].receive(1, 60), other.output()
    guest.run(["dmesg", "-C"])
    wire.drain()
    broken = guest.run(["source", WILD, "pktgen", address, *words, "--restart", "2"])
    assert broken.code == 1
    result = broken.json()
    assert "the worker process has ended: it was ended by SIGSEGV" in result["message"]
    assert "--restart" in result["hint"]
    assert (result["restarts"], result["sent"]) == (2, 0)
    assert result["dropped"] == result["drops"]["worker_lost"]
    assert not wire.receive(1, 0.3)
    other.signal(signal.SIGINT)
    undisturbed = other.wait().json()
    assert undisturbed["received"] == undisturbed["sent"] > 0
    assert [undisturbed[name] for name in NOTHING] == [0] * len(NOTHING)
    pktgen(guest, wire, address, 20)
    said = guest.messages("^(?!.*(clocksource|hrtimer|] Code: ))")  # those of a busy machine, too
    assert ["segfault at 10 " in line and "uspnet-worker" in line for line in said] == [True] * 3, (
        said
    )
