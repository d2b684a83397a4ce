# SPDX-License-Identifier: Apache-2.0
"""packet: while its interface goes down, comes back, is renamed, removed or given another MTU."""

from __future__ import annotations

import resource
import struct
import time
from contextlib import closing

import pytest

from tests.support.identity import answer
from uspnet.kernel.interface import Interface


@pytest.fixture
def veth(namespace):
    """The namespace, with interfaces a and b on one cable."""
    namespace.veth("a", "b")
    return namespace


def halted(job, until, seconds=0.3):
    """Waits until it sends nothing more, and says how much it has sent."""

    def still():
        before = job.count("tx_packets")
        time.sleep(seconds)
        return job.count("tx_packets") == before

    until(still)
    return job.count("tx_packets")


def test_a_capture_goes_on_when_its_interface_was_down(veth, frames, wait_until):
    capture = veth.start("capture", "packet:b")
    source = veth.socket("a")
    for turn in range(1, 4):
        for frame in frames([60] * 5):
            source.send(frame)
        wait_until(lambda turn=turn: capture.count("rx_packets") == 5 * turn)
        veth.ip("link", "set", "dev", "b", "down")
        capture.hears("interface b is down")
        veth.ip("link", "set", "dev", "b", "up")
        capture.hears("interface b is up")
    assert capture.end()["received"] == 15


def test_a_worker_does_not_spin_on_a_socket_whose_interface_went_down(veth, wait_until):
    capture = veth.start("capture", "packet:b", "--poll", "sleep")
    veth.ip("link", "set", "dev", "b", "down")
    capture.hears("interface b is down")
    before = capture.count("sleeps")
    time.sleep(0.5)
    assert capture.count("sleeps") - before < 100  # ten a second, when nothing wakes it


def waits_while_down(veth, pktgen, end, told, wait_until):
    """pktgen sends, says why it halts while that end of the cable is down, and goes on."""
    wait_until(lambda: pktgen.count("tx_packets") > 0)
    veth.ip("link", "set", "dev", end, "down")
    pktgen.hears(told)
    sent = halted(pktgen, wait_until)
    veth.ip("link", "set", "dev", end, "up")
    wait_until(lambda: pktgen.count("tx_packets") > sent)


def test_pktgen_waits_while_its_interface_is_down(veth, wait_until):
    pktgen = veth.start("pktgen", "packet:a", "--rate", "10k")
    waits_while_down(veth, pktgen, "a", "interface a is down", wait_until)
    result = pktgen.end()
    assert result["offered"] == result["sent"] + result["unsent"]


def test_pktgen_waits_while_its_interface_has_no_carrier(veth, wait_until):
    pktgen = veth.start("pktgen", "packet:a")
    waits_while_down(veth, pktgen, "b", "interface a has no carrier", wait_until)
    assert pktgen.end()["dropped"] == 0


def test_fwd_drops_by_name_while_an_interface_is_down(namespace, frames, wait_until):
    namespace.veth("a", "b")
    namespace.veth("c", "d")
    fwd = namespace.start("fwd", "packet:b", "packet:c")
    source = namespace.socket("a")
    namespace.ip("link", "set", "dev", "c", "down")
    fwd.hears("interface c is down")
    for frame in frames([60] * 20):
        source.send(frame)
    wait_until(lambda: fwd.count("rx_packets") >= 20)
    result = fwd.end()
    assert result["received"] == result["dropped"] == result["drops"]["down"] == 20


def test_what_waits_for_an_interface_that_is_down_at_the_end_is_dropped_as_such(veth, tmp_path):
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    record = struct.pack("<IIII", 1, 0, 60, 60) + bytes(60)
    (tmp_path / "x.pcap").write_bytes(head + record * 100)
    fwd = veth.start("fwd", f"pcap:{tmp_path}/x.pcap,loop=on", "packet:a")
    veth.ip("link", "set", "dev", "a", "down")
    fwd.hears("interface a is down")
    result = fwd.end()
    assert result["drops"] == {"down": result["received"] - result["forwarded"]}


def test_what_an_interface_cant_take_is_dropped_by_name(namespace, frames, wait_until):
    namespace.veth("a", "b", 9000)
    namespace.veth("c", "d", 9000)
    fwd = namespace.start("fwd", "packet:b", "packet:c")
    source = namespace.socket("a")
    namespace.ip("link", "set", "dev", "c", "mtu", 1400)
    fwd.hears("the MTU is 1400 now, not 9000")
    for frame in frames([60, 1414, 1418, 1419, 9014]):
        source.send(frame)
    wait_until(lambda: fwd.count("tx_packets") + fwd.count("tx_errors") == 5)
    result = fwd.end()
    assert result["drops"] == {"too_long": 3}
    assert result["received"] == 5 == result["forwarded"] + result["dropped"]


def test_an_interface_that_goes_to_another_namespace_ends_the_run(veth, namespaces):
    capture = veth.start("capture", "packet:b")
    veth.ip("link", "set", "dev", "b", "netns", namespaces().name)
    code, out, _ = capture.ends()
    assert code == 1
    assert "another network namespace" in answer(out)["message"]


@pytest.mark.parametrize("command", [["capture", "packet:b"], ["pktgen", "packet:b"]])
def test_an_interface_that_goes_down_ends_the_run_where_that_is_wished(veth, command):
    running = veth.start(*command, "--no-reconnect")
    veth.ip("link", "set", "dev", "b", "down")
    code, out, _ = running.ends()
    error = answer(out)
    assert code == 1
    assert error["error"] == "DeviceFault"
    assert error["hint"] == "ip link set b up"


@pytest.mark.parametrize("command", [["capture", "packet:b"], ["pktgen", "packet:b"]])
def test_an_interface_that_is_removed_ends_the_run(veth, command):
    running = veth.start(*command)
    veth.ip("link", "delete", "dev", "b")
    code, out, _ = running.ends()
    assert code == 1
    assert "was removed" in answer(out)["message"]


def test_a_renamed_interface_is_still_the_same(veth, frames, wait_until):
    capture = veth.start("capture", "packet:b")
    veth.ip("link", "set", "dev", "b", "name", "other")
    veth.socket("a").send(frames([60])[0])
    wait_until(lambda: capture.count("rx_packets") == 1)
    assert capture.end()["received"] == 1


def test_looking_takes_no_descriptor():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(Interface("lo")) as lo:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
            assert (lo.mtu > 0, lo.name) == (True, "lo")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
