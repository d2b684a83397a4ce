# SPDX-License-Identifier: Apache-2.0
"""Idle ports sleep until their device interrupts them."""

import re
import signal
import time

import pytest

from tests.support.tiers import everything
from tests.support.waiting import moments, until
from tests.vm.guest import KINDS, MODELS
from uspnet.packets.frames import udp_frame
from uspnet.ports.qemu import models


def flow(port):
    """A frame of the UDP flow from that port."""
    return udp_frame(
        60, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", port, 9
    )


FRAME = flow(1024)
INTERRUPTS = {kind: models()[kind].interrupts for kind in KINDS}
INTERRUPTED = list(INTERRUPTS)
SEVERAL = [  # with queues of their own
    kind
    for kind in KINDS
    if "queues" in models()[kind].options.known() and not MODELS[kind].several
]
LOOK = """
import json, sys, time
from pathlib import Path
from uspnet.telemetry import running_jobs
jobs = [job for job in running_jobs() if job.pid == int(sys.argv[1])]
if not jobs:
    sys.exit(print("null"))
port = jobs[0].ports[0]
stats = list(Path("/proc").glob("[0-9]*/stat"))
stats = [path for path in stats if "(uspnet-worker)" in path.read_text()]
ours = [path for path in stats if path.read_text().split(") ")[1].split()[1] == sys.argv[1]]
tasks = [task for path in ours for task in path.parent.glob("task/*")
         if task.name != path.parent.name]
assert tasks
texts = [(task / "status").read_text() for task in tasks]
naps = sum(int(text.partition("\\nvoluntary_ctxt_switches:")[2].split()[0]) for text in texts)
busy = sum(sum(map(int, (task / "stat").read_text().split()[13:15])) for task in tasks)
print(json.dumps({"received": port.rx_packets, "sleeps": port.sleeps, "naps": naps,
                  "busy": busy / 100, "now": time.monotonic()}))
"""


class Sleeper:
    """A job whose worker sleeps whenever it can; its first port is at `address`."""

    def __init__(self, guest, address, *words):
        self.guest, self.address = guest, address
        self.process = guest.background(["uspnet", *words, "--json", "--poll", "sleep", "-v"])
        self.result = None

    def wait(self):
        """Until its workers run."""
        until(self.look, 60, why=self.process.output)
        time.sleep(1.5)  # models take nothing before their link is up
        return self

    def interrupts(self):
        """How often the kernel has seen each of its vectors, on both processors."""
        lines = self.guest.read("/proc/interrupts").splitlines()
        ours = [each for each in lines if "vfio" in each and self.address in each]
        return [sum(map(int, re.findall(r" (\d+)(?= )", line)[:2])) for line in ours]

    def look(self):
        shown = self.guest.python_json(LOOK, self.process.pid)
        return shown and {**shown, "interrupts": sum(self.interrupts())}

    def since(self, before):
        return {name: value - before[name] for name, value in self.look().items()}

    def received(self, count, before):
        """The same, once that many frames have come."""
        for _ in moments(20, 0):
            if (grown := self.since(before))["received"] >= count:
                return grown
        raise AssertionError(grown)

    def end(self):
        if not self.result:
            self.process.signal(signal.SIGINT)
            self.result = self.process.wait()
        return self.result


@pytest.fixture
def asleep(guest, taken):
    """asleep(kinds, command, options) starts a job on NICs of these kinds; it ends before they are
    given back."""
    started = []

    def start(kinds, command, options=""):
        addresses = [taken(guest, guest.address(kind)) for kind in kinds]
        words = [f"{address}{options}" for address in addresses]
        started.append(Sleeper(guest, addresses[0], command, *words))
        return started[-1].wait()

    yield start
    for sleeper in started:
        sleeper.end()


@pytest.mark.full
def test_an_idle_port_sleeps_until_frames_come(guest, asleep, transport):
    sleeps_until_frames_come(guest, asleep, INTERRUPTED[0], transport)


@pytest.mark.full
@pytest.mark.once("lab", "debian")
@pytest.mark.parametrize("kind", [*INTERRUPTED[1:2], *everything(*INTERRUPTED[2:])])
def test_each_model_sleeps_until_frames_come(guest, asleep, kind):
    sleeps_until_frames_come(guest, asleep, kind, guest.transports[-1])


def sleeps_until_frames_come(guest, asleep, kind, transport):
    """An idle port uses next to nothing, and each frame of 200 wakes it."""
    if kind not in guest.kinds:
        pytest.skip(f"this QEMU is too old: it has no {kind}")
    wire = guest.wires[kind]
    sleeper = asleep([kind], "capture", f",transport={transport}")
    before = sleeper.look()
    time.sleep(2)
    idle = sleeper.since(before)
    before = sleeper.look()
    for _ in range(200):
        wire.send(FRAME)
        time.sleep(0.005)
    woken = sleeper.received(200, before)
    result = sleeper.end()
    assert result.code == 0, result.out + result.err
    assert idle["interrupts"] == idle["received"] == 0
    assert 1 <= idle["sleeps"] < 50 * idle["now"]
    assert idle["naps"] < 100 * idle["now"]
    assert idle["busy"] < idle["now"] / 4, "seconds of processor time"
    assert result.json()["received"] == 200
    sandbox = result.json()["sandbox"]
    assert (sandbox["missing"], sandbox["capabilities"]) == ([], 0)
    assert sandbox["seccomp"] <= 15
    assert woken["interrupts"] > 0
    assert f"interrupts: {INTERRUPTS[kind]}, 1 of 1" in " ".join(result.err.split())


@pytest.mark.full
def test_a_worker_on_two_ports_is_woken_by_either(guest, asleep):
    kinds = [kind for kind in guest.kinds if INTERRUPTS[kind] == "MSI-X"][:2]
    wires = [guest.wires[kind] for kind in kinds]
    sleeper = asleep(kinds, "fwd")
    for near, far in (wires, reversed(wires)):
        near.drain()
        far.drain()
        frames = [FRAME[:50] + bytes([number]) + FRAME[51:] for number in range(100)]
        for frame in frames:
            near.send(frame)
            time.sleep(0.01)
        assert far.receive(100) == frames
    assert all(sleeper.interrupts())
    result = sleeper.end()
    assert result.json()["forwarded"] == 200, result.out


@pytest.mark.full
@pytest.mark.parametrize("kind", SEVERAL)
def test_each_queue_has_an_interrupt_of_its_own(guest, asleep, kind):
    if kind not in guest.kinds:
        pytest.skip(f"this QEMU is too old: it has no {kind}")
    sleeper = asleep([kind], "capture", ",queues=4")
    before = sleeper.look()
    for port in range(1000, 1100):
        guest.wires[kind].send(flow(port))
        time.sleep(0.01)
    sleeper.received(100, before)
    each = sleeper.interrupts()
    assert len(each) == 4
    assert all(each)
