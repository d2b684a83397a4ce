# SPDX-License-Identifier: Apache-2.0
"""Rules and routes that are set anew while packets pass."""

from __future__ import annotations

import itertools
import os
import signal

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.process.test_upgrade import running, short  # noqa: F401 - a fixture
from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import ran
from tests.support.processes import children_named
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.errors import DeviceFault, NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
TIMES = by_tier(4, 8, 100)
GAP_NS = 200_000  # between two packets
ONE, OTHER = "to:2 udp port 1\nto:3 udp port 2\n", "to:3 udp port 1\nto:2 udp port 2\n"


def numbered(path, count):
    """A file of packets that are `GAP_NS` apart, each with its number, to UDP port 1 or 2."""
    heads = [bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=9, dport=port))
             for port in (1, 2)]  # fmt: skip
    frames = [heads[n * n // 7 % 2] + n.to_bytes(18, "big") for n in range(count)]
    write_pcap(path, frames, [10**9 + n * GAP_NS for n in range(count)])
    return frames


def job(ports, mode, process=True, **options):
    limits = Limits(duration=600, process=process, sandbox="auto" if process else "off")
    made = [make_port(port) for port in ports]
    return ForwardJob(made, limits, Forwarding(mode, options=options))


@pytest.fixture
def filtering(tmp_path):
    """A job that drops half of its packets."""
    numbered(tmp_path / "in.pcap", 100)
    ports = [f"pcap:{tmp_path}/in.pcap,loop=on", "null:"]
    with running(job(ports, "filter", rule=["drop udp port 1", "pass"])) as it:
        until(lambda: it.is_open() and it.total("tx", "packets"))
        yield it


@pytest.mark.parametrize("process", [True, False])
def test_each_packet_goes_by_one_table_and_later_ones_by_later_tables(process, tmp_path):
    frames = numbered(tmp_path / "in.pcap", by_tier(100_000, 200_000, 1_000_000))
    ports = [f"pcap:{tmp_path}/in.pcap,timing=on",
             *[f"pcap:out={tmp_path}/{name}.pcap,format=pcap" for name in "ab"]]  # fmt: skip
    with running(job(ports, "filter", process, rule=ONE.split("\n")[:2])) as it:
        until(lambda: it.is_open() and it.total("rx", "packets"))
        for number in range(TIMES):
            before = it.total("rx", "packets")
            done = it.set_table("rules", OTHER if number % 2 == 0 else f"{ONE}drop arp")
            assert done.dropped == 0
            assert (done.table, done.entries) == ("rules", 3 + number % 2)
            assert done.gap_us > 0
            assert not done.notices
            until(lambda before=before: it.total("rx", "packets") > before + 100)
        assert len(children_named(os.getpid(), "uspnet-worker")) == process
    result = ran(it.result())
    assert set(result.drops) <= {"ended"}
    assert result.restarts == 0
    if os.uname().machine == "x86_64":
        assert result.filter_code == "x86-64", "also behind the sandbox"
    taken = {}
    for name in "ab":
        numbers = [
            int.from_bytes(each[-18:], "big") for each in pcap_frames(tmp_path / f"{name}.pcap")
        ]
        assert numbers == sorted(numbers)
        taken |= dict.fromkeys(numbers, name)
    assert sorted(taken) == list(range(result.forwarded))
    by_other = [(taken[n] == "a") != (frames[n][36:38] == b"\0\1") for n in sorted(taken)]
    changes = sum(a != b for a, b in itertools.pairwise(by_other))
    assert (by_other[0], changes) == (False, TIMES)


def test_rules_that_stay_go_on_counting(filtering):
    counted = filtering.result().rules
    text = "pass udp port 2\r\n# all others:\n\n  drop udp port 1 # so\npass\ndrop tcp"
    done = filtering.set_table("rules", text)
    assert done.notices == ["rule 'drop tcp' is never reached: 'pass' comes before it"]
    rules = filtering.result().rules
    texts = ["pass udp port 2", "drop udp port 1", "pass", "drop tcp"]
    assert [each.rule for each in rules] == texts
    assert rules[1].packets >= counted[0].packets > 0
    assert rules[2].packets >= counted[1].packets > 0


WRONG = {
    "pass\nlet tcp": "--set-rules -, line 2: 'let tcp' is no rule\n    let tcp\n    ^~~",
    "\ndrop tcp prot 80": "line 2: 'drop tcp prot 80': filter 'tcp prot 80': ",
    "to:9": "line 1: 'to:9': there is no such port\n    to:9\n       ^",
    "to:1": "it sends nothing",
    " # nothing": "has no rule",
    "pass\n" * 300: "line 257: more than 256 rules",
    f"drop {'tcp or ' * 3000}udp": "line 1: more than 16,384 characters",
    "drop \x1b[2J": "drop \\x1b[2J",
}


def test_wrong_rules_change_nothing(filtering):
    rules, worker = filtering.result().rules, filtering.crew.process.pid
    for text, said in WRONG.items():
        with pytest.raises(Usage) as raised:
            filtering.set_table("rules", text)
        assert said in str(raised.value), text
        assert raised.value.hint
    with pytest.raises(NotSupported, match="has no routes; its rules can be set"):
        filtering.set_table("routes", "default port 2")
    assert [each.rule for each in filtering.result().rules] == [each.rule for each in rules]
    assert filtering.crew.process.pid == worker
    filtering.stop()
    until(lambda: not filtering.is_open())
    with pytest.raises(DeviceFault, match="ended"):
        filtering.set_table("rules", "pass")
    ran(filtering.result())


def test_a_worker_that_takes_the_place_goes_by_the_new_rules(short):  # noqa: F811
    with running(job(["null:", "null:"], "filter", rule=["drop"])) as it:
        until(lambda: it.is_open() and it.total("rx", "dropped"))
        it.set_table("rules", "pass len = 60\ndrop")
        until(lambda: it.total("tx", "packets"))
        os.kill(it.crew.process.pid, signal.SIGKILL)
        until(lambda: it.crew.restarts == 1)
        for act in (
            it.upgrade,
            lambda: it.set_table("rules", "pass ether[0] = 0\ndrop"),
            it.upgrade,
        ):
            before = it.total("tx", "packets"), sum(each.packets for each in it.result().rules)
            until(lambda before=before: it.total("tx", "packets") > before[0])
            act()
        dropped = it.total("rx", "dropped")
        before = it.total("tx", "packets")
        until(lambda: it.total("tx", "packets") > before)
        assert it.total("rx", "dropped") == dropped
    result = ran(it.result())
    assert result.upgrades == 2
    assert {"filtered"} <= set(result.drops) <= {"filtered", "worker_lost", "ended"}


def test_routes_are_set_anew(tmp_path):
    frames = [b"\2\0\0\0\0\1" + bytes(6) + b"\x08\0" + bytes(IP(dst=to) / UDP())
              for to in ("10.0.0.1", "11.0.0.1")]  # fmt: skip
    write_pcap(tmp_path / "in.pcap", frames)
    (tmp_path / "routes").write_text(
        "10.0.0.0/8 port 2\nneighbor 10.0.0.1 port 2 mac 02:00:00:00:00:01\n"
    )
    ports = [f"pcap:{tmp_path}/in.pcap,loop=on", "null:", "null:"]
    with running(job(ports, "route", routes=str(tmp_path / "routes"))) as it:
        until(lambda: it.is_open() and it.total("tx", "packets"))
        many = "".join(f"11.{n >> 8}.{n & 255}.0/24 via 192.0.2.1\n" for n in range(5000))
        near = "192.0.2.0/24 port 3\nneighbor 192.0.2.1 port 3 mac 02:00:00:00:00:02\n"
        text = f"{many}{near}10.0.0.0/8 drop"
        done = it.set_table("routes", text, "new")
        assert (done.table, done.entries, done.before) == ("routes", 5002, 1)
        sent = it.port_rows()[2].tx_packets
        until(lambda: it.port_rows()[2].tx_packets > sent)
        with pytest.raises(Usage, match="--set-routes new, line 2: "):
            it.set_table("routes", "default port 2\n10.0.0.1/8 port 2", "new")
        assert it.result().route.ipv4 == 5002
    result = ran(it.result())
    assert (
        {"no_route", "filtered"}
        <= set(result.drops)
        <= {"no_route", "filtered", "no_room", "ended"}
    )
