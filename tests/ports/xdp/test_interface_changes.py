# SPDX-License-Identifier: Apache-2.0
"""xdp: while its interface goes down, comes back, is renamed, removed or given another MTU; and
where it may not be used at all.
"""

from __future__ import annotations

import socket
import sys

import pytest

from tests.support.identity import answer
from tests.support.tiers import by_tier
from uspnet.binding.machine import KernelNetwork
from uspnet.errors import DeviceFault
from uspnet.jobs.doctor_xdp import xdp_rows
from uspnet.kernel import netdev
from uspnet.pci.sysfs import HOST
from uspnet.ports.xdp.options import XdpOptions
from uspnet.telemetry import REASONS


@pytest.fixture
def veth(namespace):
    """The namespace, with interfaces a and b on one cable."""
    namespace.veth("a", "b")
    return namespace


@pytest.mark.parametrize("mode", by_tier(["copy"], ["copy"], ["copy", "generic"]))
def test_a_capture_goes_on_whatever_happens_to_its_interface(veth, frames, wait_until, mode):
    capture, sent = veth.start("capture", f"xdp:b,mode={mode}"), 0

    def passes():
        nonlocal sent
        source = veth.socket("a")
        for frame in frames([60] * 5):
            source.send(frame)
        sent += 5
        wait_until(lambda: capture.count("rx_packets") == sent)

    passes()
    for name in ("b", "a"):
        for state, told in (("down", "down" if name == "b" else "has no carrier"), ("up", "is up")):
            veth.ip("link", "set", "dev", name, state)
            capture.hears(told)
    passes()
    veth.ip("link", "set", "dev", "b", "name", "other")
    passes()
    veth.ip("link", "set", "dev", "other", "mtu", 1400)
    capture.hears("the MTU is 1400 now, not 1500")
    passes()
    assert veth.programs() == {"other"}
    veth.ip("link", "delete", "dev", "other")
    code, out, _ = capture.ends()
    assert code == 1
    assert "was removed" in answer(out)["message"]


def test_an_interface_that_goes_to_another_namespace_ends_the_run(veth, namespaces):
    capture = veth.start("capture", "xdp:b")
    other = namespaces()
    veth.ip("link", "set", "dev", "b", "netns", other.name)
    code, out, _ = capture.ends()
    assert code == 1
    assert "another network namespace" in answer(out)["message"]
    assert other.programs() == set()


def test_an_interface_that_went_and_came_back_at_once_is_noticed(veth, namespaces, drive):
    """Its index is the same, but the kernel has let go of the sockets."""
    port, other = drive("xdp:b").port, namespaces()
    port.control()
    veth.ip("link", "set", "dev", "b", "netns", other.name)
    other.ip("link", "set", "dev", "b", "netns", veth.name)
    veth.ip("link", "set", "dev", "b", "up")
    with pytest.raises(DeviceFault, match="another network namespace"):
        port.control()


def test_pktgen_waits_while_its_interface_is_down(veth, wait_until):
    """And what an interface without a carrier does not send is not counted as sent."""
    pktgen = veth.start("pktgen", "xdp:a", "--rate", "10k")
    for name in "ba":
        veth.ip("link", "set", "dev", name, "down")
        pktgen.hears("interface a")
        veth.ip("link", "set", "dev", name, "up")
        before = pktgen.count("tx_packets")
        wait_until(lambda before=before: pktgen.count("tx_packets") > before)
    result = pktgen.end()
    port = result["ports"][0]
    assert port["tx_packets"] == veth.counted("a")["tx"]["packets"]
    assert set(result["drops"]) <= {"refused", "peer_left", "down"}


def test_what_the_driver_refuses_is_dropped_by_name(veth, drive, frames):
    port = drive("xdp:a")
    assert port.send(frames([1000, 100])) == 2
    veth.ip("link", "set", "dev", "b", "down")
    for size in (60, 62, 64):
        assert port.send(frames([size, size + 1])) == 2
    while port.port.pending():
        pass
    counters = port.counters[1]
    assert (counters.packets, counters.bytes, counters.drops[REASONS["refused"]]) == (2, 1100, 6)
    assert veth.counted("a")["tx"] | {"dropped": 6, "packets": 2} == veth.counted("a")["tx"]


def test_what_was_not_sent_at_the_end_is_dropped_by_name(veth, drive, frames):
    port = drive("xdp:a")
    veth.ip("link", "set", "dev", "a", "down")
    assert port.send(frames([60, 70])) == 2
    port.port.finish()
    counters = port.counters[1]
    assert (counters.packets, counters.bytes, counters.drops[REASONS["peer_left"]]) == (0, 0, 2)


@pytest.mark.parametrize(
    ("held", "missing", "keep"),
    [
        ("net_raw", "CAP_NET_ADMIN and CAP_BPF", "off"),
        ("net_raw,+net_admin,+bpf", None, "off"),
        ("net_raw,+net_admin,+bpf", "CAP_PERFMON", "udp port 9"),
        *by_tier(
            [],
            [
                ("", "CAP_NET_RAW and CAP_NET_ADMIN and CAP_BPF", "off"),
                ("net_raw,+net_admin", "CAP_BPF", "off"),
                ("net_raw,+net_admin,+bpf,+perfmon", None, "udp port 9"),
            ],
        ),
    ],
)
def test_the_privileges_that_are_missing_are_named(veth, held, missing, keep):
    bound = ",".join(["-all", *[f"+{held}"] * bool(held)])
    bare = ("setpriv", f"--bounding-set={bound}", f"--inh-caps={bound}", sys.executable)
    words = ("-m", "uspnet", "capture", f"xdp:b,keep-host={keep}", "--json", "--duration", "0.1")
    run = veth.run(*bare, *words, check=False)
    if missing is None:
        assert answer(run.stdout)["received"] == 0
    else:
        error = answer(run.stdout)
        assert (error["error"], error["hint"]) == (
            "NotPermitted",
            f"run as root, or with {missing}",
        )


def test_the_doctor_says_what_there_is(veth, drive):
    drive("xdp:b")
    with veth.entered():
        rows = {check: (state, found) for check, state, found, _ in xdp_rows("b")}
        modes = KernelNetwork(HOST).xdp()
        numbers = [socket.if_nametoindex(name) for name in ("lo", "a", "b")]
        told = bool(netdev.features())
    if told:
        assert [modes[number] for number in numbers] == ["generic", "copy", "copy"]
    assert rows["XDP mode"][1].startswith("copy: " if told else "the kernel is too old")
    assert rows["XDP queues"] == ("ok", "1 to receive, 1 to transmit")
    assert (rows["XDP program"][0], rows["XDP privileges"][0]) == ("problem", "ok")


@pytest.mark.parametrize(
    ("options", "held", "states"),
    [
        ({"mode": "zero-copy"}, ["CAP_PERFMON"], ["ok", "problem"]),
        ({"mode": "copy", "keep_host": "on"}, ["CAP_PERFMON"], ["ok", "ok"]),
        ({"mode": "generic", "keep_host": "on"}, [], ["problem", "ok"]),
        ({"keep_host": "arp"}, [], ["note", "note"]),
    ],
)
def test_the_doctor_goes_by_the_options(veth, monkeypatch, options, held, states):
    def lacking(wanted):
        return [name for name in wanted if name == "CAP_PERFMON" and name not in held]

    monkeypatch.setattr("uspnet.jobs.doctor_xdp.lacking", lacking)
    with veth.entered():
        rows = {check: state for check, state, *_ in xdp_rows("a", XdpOptions(**options))}
        told = bool(netdev.features())
    if not told and options.get("mode") in {"zero-copy", "copy"}:
        states = [states[0], "note"]
    assert [rows["XDP privileges"], rows["XDP mode"]] == states


def test_the_number_of_queues_changes_while_a_capture_runs(namespace, needs, frames, wait_until):
    """The kernel takes none away that is used; of more, the capture says that it has them not."""
    needs("ethtool")
    four = ("numtxqueues", 4, "numrxqueues", 4)
    namespace.ip("link", "add", "name", "a", *four, "type", "veth", "peer", "name", "b", *four)
    for name in "ab":
        namespace.ip("link", "set", "dev", name, "up")
        namespace.run("ethtool", "-L", name, "rx", 2, "tx", 2)
    capture, source = namespace.start("capture", "xdp:b"), namespace.socket("a")
    fewer = namespace.run("ethtool", "-L", "b", "rx", 1, check=False)
    assert fewer.returncode != 0
    namespace.run("ethtool", "-L", "b", "rx", 4)
    capture.hears("b has 4 receive queues now, not 2: the kernel's stack gets")
    for frame in frames([60] * 5):
        source.send(frame)
    wait_until(lambda: capture.count("rx_packets") == 5)
    namespace.run("ethtool", "-L", "b", "rx", 2)
    capture.hears("b has 2 receive queues now, not 4")
    assert capture.end()["received"] == 5
