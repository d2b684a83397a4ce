# SPDX-License-Identifier: Apache-2.0
"""qemu: ports as a whole: mistakes, whole commands, and what is left when somebody is killed."""

import os
import random
import signal
import struct
import subprocess
import sys
import time
from contextlib import closing

import pytest

from tests.support.identity import answer
from tests.support.processes import alive, children_named, children_of
from tests.support.waiting import until
from uspnet.errors import DeviceFault, NoDevice, Usage
from uspnet.ports.qemu import models
from uspnet.ports.registry import make_port
from uspnet.telemetry import look
from uspnet.transports.qemu.cable import WireEnd

pytestmark = pytest.mark.usefixtures("qemu")
COMMAND = [sys.executable, "-m", "uspnet"]
FAMILIES = {  # one model of each driver's file, with two queues where it has them
    nic.__module__: name + (",queues=2" if "queues" in nic.options.known() else "")
    for name, nic in models().items()
    if nic.models[name].kernel_module
}


def run(*words):
    """Runs a command to its end; what it printed under --json."""
    done = subprocess.run([*COMMAND, *words, "--json"], capture_output=True, text=True, check=False)
    return answer(done.stdout) | {"exit": done.returncode}


def test_what_makes_no_sense_is_said():
    with pytest.raises(Usage, match="no driver for nothing") as caught:
        make_port("qemu:")
    assert "qemu:e1000e" in caught.value.hint
    with pytest.raises(Usage, match="unknown option 'packed'"):
        make_port("qemu:e1000e,packed=on")
    with pytest.raises(Usage, match="one other end"):
        make_port("qemu:e1000e,wire=a,loop=on")
    with pytest.raises(Usage, match="station"):
        make_port("qemu:e1000e,mac=01:00:00:00:00:00")


@pytest.mark.parametrize("words", [["pktgen"], ["capture"], ["fwd", "null:"]])
def test_a_nic_without_a_cable_is_refused_at_once(words):
    result = run(*words, "qemu:e1000e,mtu=1500")
    assert (result["exit"], result["error"]) == (2, "Usage")
    assert "qemu:e1000e,mtu=1500: the NIC has no cable" in result["message"]
    assert make_port(result["hint"].split()[-1]).options.loop


def test_a_missing_qemu_is_said(monkeypatch):
    monkeypatch.setenv("USPNET_QEMU", "/none/qemu")
    port = make_port("qemu:e1000e")
    with pytest.raises(NoDevice, match="not installed") as caught:
        port.open()
    assert "apt-get install" in caught.value.hint
    port.close()


def test_a_qemu_that_is_none_is_said(monkeypatch):
    monkeypatch.setenv("USPNET_QEMU", "/bin/true")
    port = make_port("qemu:e1000e")
    with pytest.raises(DeviceFault, match="QEMU has ended"):
        port.open()
    port.close()


def test_pktgen_counts_what_comes_back():
    result = run(
        "pktgen", "qemu:e1000e,loop=on", "--rx-port", "qemu:e1000e,loop=on", "--count", "5000"
    )
    assert result["exit"] == 0
    assert result["sent"] == result["received"] == 5000
    assert result["lost"] == result["duplicated"] == result["reordered"] == 0
    assert result["ports"][0]["rx_missed_errors"] == 0


def test_a_file_of_which_nothing_can_be_sent_is_a_failure(tmp_path):
    file = tmp_path / "long.pcap"
    records = struct.pack("<IIII", 1, 0, 9000, 9000) + bytes(9000)
    file.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + records * 3)
    result = run("fwd", f"pcap:{file}", "qemu:e1000e,loop=on")
    assert (result["exit"], result["error"]) == (1, "NotSupported")
    assert "none of 3 packets" in result["message"]
    assert "mtu=" in result["hint"]
    assert (result["received"], result["forwarded"], result["drops"]) == (3, 0, {"too_long": 3})


@pytest.mark.full
def test_fwd_joins_two_wires_between_processes():
    left, right = f"left-{os.getpid()}", f"right-{os.getpid()}"
    ports = [f"qemu:e1000,wire={left}", f"qemu:e1000e,wire={right}"]
    with subprocess.Popen([*COMMAND, "fwd", *ports, "--json"], stdout=subprocess.PIPE) as fwd:
        ends = [f"qemu:e1000e,wire={left}", f"qemu:e1000e,wire={right}"]
        out = run("pktgen", ends[0], "--rx-port", ends[1], "--count", "3000")
        back = run("pktgen", ends[1], "--rx-port", ends[0], "--count", "3000")
        fwd.send_signal(signal.SIGINT)
        forwarded = answer(fwd.stdout.read())
    assert fwd.returncode == 0
    assert [out["lost"], back["lost"]] == [0, 0]
    assert forwarded["forwarded"] == 6000
    assert forwarded["dropped"] == 0


def test_a_killed_qemu_leaves_the_counters_so_far():
    words = ["fwd", "null:", "qemu:e1000,loop=on", "--json"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE) as process:
        until(lambda: any(job.ports[1].tx_packets > 2000 for job in look(process.pid).jobs))
        os.kill(*children_named(process.pid, "qemu"), signal.SIGKILL)
        result = answer(process.stdout.read())
    assert (process.returncode, result["error"]) == (1, "DeviceFault")
    assert 0 < result["forwarded"] == result["received"] - result["dropped"]
    assert result["ports"][1]["rx_missed_errors"] is None


def left_of(wires):
    """The sockets that remain of these wires when the next one is made."""
    with closing(WireEnd("next")) as end:
        return [name for name in os.listdir(os.path.dirname(end.mine)) if name.startswith(wires)]


@pytest.mark.full
def test_a_killed_uspnet_leaves_no_qemu_and_no_file(tmp_path):
    """At random moments: while QEMU starts, while it runs, while it ends. What is left of its wire
    goes when the next one is made.
    """
    moments = random.Random(1)
    home = os.environ | {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    for number in range(12):
        wire = f"kill-{os.getpid()}-{number}"
        spec = f"qemu:e1000e,wire={wire}"
        mac = f"mac=02:00:00:00:{os.getpid() % 256:02x}:{number:02x}"
        words = ["pktgen", spec, "--rx-port", f"{spec},{mac}", "--quiet"]
        with subprocess.Popen([*COMMAND, *words], env=home) as process:
            if number % 2:
                until(
                    lambda: (
                        len(children_named(process.pid, "qemu")) == 2 or process.poll() is not None
                    )
                )
            time.sleep(moments.uniform(0.0, 0.6))
            children = children_of(process.pid)
            process.kill()
        until(lambda: not any(alive(child) for child in children))  # noqa: B023 - used at once
    assert list(tmp_path.iterdir()) == []
    until(lambda: not left_of(f"kill-{os.getpid()}-"))


# -- a cable into the kernel ----------------------------------------------------------------------


@pytest.mark.parametrize("model", FAMILIES.values())
def test_a_cable_may_end_in_the_kernel(namespace, station, model, make_frames, read_frames):
    with namespace.entered():
        made = station(f"qemu:{model},tap=t0,mtu=1400").start()
        port, sock, batch = made.ports[0], namespace.socket("t0"), make_frames(32, 60, 1414)
        assert namespace.link("t0")["mtu"] == 1400
        assert made.offer(port, batch) == len(batch)
        assert read_frames(sock, len(batch)) == batch
        for frame in batch:
            sock.send(frame)
        got = []
        made.until(
            lambda: (
                got.extend(f for i in range(port.queues) for f in made.take(port, i))
                or len(got) >= len(batch)
            )
        )
        assert sorted(got) == sorted(batch)
        namespace.ip("link", "set", "dev", "t0", "down")
        made.until(lambda: not port.up())
        assert port.why_down() == "ip link set t0 up"
        namespace.ip("link", "set", "dev", "t0", "up")
        made.until(port.up)
        made.undo.close()
    assert "t0" not in namespace.links()


@pytest.mark.parametrize(
    ("options", "text", "hint"),
    [
        ("tap=a234567890123456", "no interface name", "15"),
        ("tap=a/b", "no interface name", "15"),
        ("tap=", "names no interface", "15"),
        ("tap=a,wire=b", "one other end", "wire="),
        ("queues=4", "several queues", "tap="),
        ("queues=4,loop=on", "several queues", "tap="),
    ],
)
def test_cables_that_make_no_sense_are_refused(options, text, hint):
    with pytest.raises(Usage, match=text) as caught:
        make_port(f"qemu:virtio-net,{options}")
    assert hint in caught.value.hint


def test_taps_that_cannot_be_had_are_named(namespace, needs):
    needs("setpriv")
    nobody = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    pktgen = [*COMMAND, "pktgen", "qemu:virtio-net,tap=t0,queues=2", "--count", "1", "--json"]
    done = namespace.run(*nobody, *pktgen, check=False)
    said = answer(done.stdout)
    assert (done.returncode, said["error"]) == (1, "NotPermitted")
    assert "ip tuntap add t0 mode tap" in said["hint"]
    namespace.ip("tuntap", "add", "name", "t0", "mode", "tap")  # of one queue
    said = answer(namespace.run(*pktgen, check=False).stdout)
    assert said["error"] == "Busy"
    assert "several queues" in said["message"]
    assert namespace.links() == {"lo", "t0"}
