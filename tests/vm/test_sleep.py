# SPDX-License-Identifier: Apache-2.0
"""Idle ports sleep until their device interrupts them."""

import json
import re
import signal
import time

import pytest

from uspnet.frames import udp_frame

FRAME = udp_frame(
    60, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9
)
INTERRUPTS = {
    "e1000": "INTx",
    "e1000e": "MSI-X",
    "igb": "MSI-X",
    "virtio-net": "MSI-X",
    "vmxnet3": "MSI-X",
}
LOOK = """
import json, sys, time
from pathlib import Path
from uspnet.telemetry import running_jobs
port = [port for job in running_jobs() for port in job.ports][0]
tasks = [task for task in Path(f"/proc/{sys.argv[1]}/task").iterdir() if task.name != sys.argv[1]]
texts = [(task / "status").read_text() for task in tasks]
naps = sum(int(text.partition("\\nvoluntary_ctxt_switches:")[2].split()[0]) for text in texts)
busy = sum(sum(map(int, (task / "stat").read_text().split()[13:15])) for task in tasks)
print(json.dumps({"received": port["rx_packets"], "sleeps": port["sleeps"], "naps": naps,
                  "busy": busy / 100, "now": time.monotonic()}))
"""


class Sleeper:
    """A job whose worker sleeps whenever it can; its first port is at `address`."""

    def __init__(self, guest, address, *words):
        self.guest, self.address = guest, address
        self.process = guest.background(["uspnet", *words, "--json", "--poll", "sleep", "-v"])
        end = time.monotonic() + 60
        while not guest.python("from uspnet.telemetry import running_jobs as r; print(r())")[2:]:
            assert time.monotonic() < end, self.process.output()

    def interrupts(self):
        """How often the kernel has seen its interrupt."""
        lines = self.guest.read("/proc/interrupts").splitlines()
        (line,) = (each for each in lines if "vfio" in each and self.address in each)
        return sum(map(int, re.findall(r" (\d+)(?= )", line)[:2]))

    def look(self):
        shown = json.loads(self.guest.python(LOOK, self.process.pid))
        return {**shown, "interrupts": self.interrupts()}

    def since(self, before):
        return {name: value - before[name] for name, value in self.look().items()}

    def end(self):
        self.process.signal(signal.SIGINT)
        return self.process.wait()


@pytest.fixture(params=["vfio-group", "vfio-cdev"])
def transport(request, guest):
    if request.param == "vfio-cdev" and guest.kernel_name == "debian":
        pytest.skip("Debian's kernel has no iommufd")
    return request.param


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_idle_port_sleeps_until_frames_come(guest, taken, kind, transport):
    if kind not in guest.kinds:
        pytest.skip(f"this QEMU has no {kind}")
    address, wire = taken(guest, guest.address(kind)), guest.wires[kind]
    sleeper = Sleeper(guest, address, "capture", f"{address},transport={transport}")
    time.sleep(1.5)  # the 82540EM's model takes nothing for a second
    before = sleeper.look()
    time.sleep(2)
    idle = sleeper.since(before)
    before = sleeper.look()
    for _ in range(200):
        wire.send(FRAME)
        time.sleep(0.005)
    time.sleep(0.3)
    woken = sleeper.since(before)
    result = sleeper.end()
    assert result.code == 0, result.out + result.err
    assert idle["interrupts"] == idle["received"] == 0
    assert 1 <= idle["sleeps"] < 50 * idle["now"]
    assert idle["naps"] < 100 * idle["now"]
    assert woken["received"] == result.json()["received"] == 200
    assert woken["interrupts"] > 0
    assert f"interrupts: {INTERRUPTS[kind]}, 1 of 1" in " ".join(result.err.split())


def test_a_worker_on_two_ports_is_woken_by_either(guest, taken):
    kinds = [kind for kind in ("igb", "e1000e", "vmxnet3") if kind in guest.kinds][:2]
    addresses = [taken(guest, guest.address(kind)) for kind in kinds]
    wires = [guest.wires[kind] for kind in kinds]
    sleeper = Sleeper(guest, addresses[0], "fwd", *addresses)
    for near, far in (wires, reversed(wires)):
        near.drain()
        far.drain()
        frames = [FRAME[:50] + bytes([number]) + FRAME[51:] for number in range(100)]
        for frame in frames:
            near.send(frame)
            time.sleep(0.01)
        assert far.receive(100) == frames
    assert sleeper.interrupts() > 0
    result = sleeper.end()
    assert result.json()["forwarded"] == 200, result.out
