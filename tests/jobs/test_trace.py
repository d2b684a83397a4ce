# SPDX-License-Identifier: Apache-2.0
"""fwd --trace: what is told of a packet is what the loop has done with it."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import ran
from uspnet.errors import NoMemory, NotSupported
from uspnet.jobs import plan
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.forward.trace import Tracing
from uspnet.jobs.plan import Limits
from uspnet.packets.filter import compile_filter
from uspnet.ports.registry import make_port

HEAD = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def frame(number, transport, to="10.0.0.2", ttl=64):
    return bytes(HEAD / IP(src="10.0.0.1", dst=to, ttl=ttl) / transport / number.to_bytes(4, "big"))


def trace(folder, frames, mode, *, ports=2, only=None, count=100, **options):
    """The result of a job, and what has left by each of its other ports."""
    write_pcap(folder / "in.pcap", frames)
    outs = [folder / f"{number}.pcap" for number in range(1, ports)]
    specs = [f"pcap:{folder}/in.pcap", *(f"pcap:out={out},format=pcap" for out in outs)]
    made = [make_port(spec) for spec in specs]
    wanted = Tracing(count, compile_filter(only) if only else None)
    how = Forwarding(mode, options=options, trace=wanted)
    with ForwardJob(made, Limits(duration=60, process=True), how) as job:
        result = ran(job.run())
    return result, [pcap_frames(out) for out in outs]


def mixed(count):
    kinds = [UDP(sport=9, dport=53), UDP(sport=9, dport=1), TCP(dport=80)]
    return [frame(n, kinds[n * 7 // 3 % 3]) for n in range(count)]


def test_rules_are_told_as_they_decided(tmp_path):
    rules = ["drop udp port 53", "to:3 tcp"]
    frames = mixed(60)
    result, outs = trace(tmp_path, frames, "filter", ports=3, rule=rules)
    assert [bytes.fromhex(each.data) for each in result.traced] == frames
    left = [[], []]
    for each, data in zip(result.traced, frames, strict=True):
        assert (each.bytes, each.rewritten) == (len(data), ())
        fits = [step.split("'")[1] for step in each.steps if step.endswith(" fits")]
        packet = Ether(data)
        if TCP in packet:
            assert (fits, each.dropped, len(each.steps)) == (["to:3 tcp"], None, 2)
        elif packet.dport == 53:
            assert (fits, each.dropped, each.exits) == (["drop udp port 53"], "filtered", ())
        else:
            assert (fits, each.dropped, len(each.steps)) == (["pass"], None, 3)
        for exit_by in each.exits:
            assert exit_by.became == "sent"
            left[
                int(exit_by.port.endswith("2.pcap,format=pcap") or "/2.pcap" in exit_by.port)
            ].append(data)
    assert left == outs
    assert result.received == 60
    assert result.drops == {"filtered": sum(each.dropped is not None for each in result.traced)}


def test_only_some_are_followed_and_all_are_forwarded(tmp_path):
    frames = mixed(300)
    result, outs = trace(tmp_path, frames, "macswap", only="udp port 53", count=1000)
    assert outs == [[each[6:12] + each[:6] + each[12:] for each in frames]]
    wanted = [each for each in frames if each[23] == 17 and Ether(each).dport == 53]
    assert [bytes.fromhex(each.data) for each in result.traced] == wanted
    changed = [(each.at, each.before, each.after) for each in result.traced[0].rewritten]
    assert changed == [(5, "02", "01"), (11, "01", "02")]


def test_a_router_says_which_route_a_packet_takes(tmp_path):
    (tmp_path / "routes").write_text(
        "10.1.0.0/16 via 192.0.2.1 port 2 mac 02:00:00:00:00:09\n10.2.0.0/16 drop\n"
    )
    frames = [frame(0, UDP(), "10.1.2.3"), frame(1, UDP(), "10.2.0.1"), frame(2, UDP(), "9.9.9.9"),
              frame(3, UDP(), "10.1.2.3", ttl=1), bytes(60)]  # fmt: skip
    result, _ = trace(tmp_path, frames, "route", routes=str(tmp_path / "routes"))
    first, drop, none, late, zeros = result.traced
    via = "via 192.0.2.1 of port 2, at 02:00:00:00:00:09"
    assert first.steps == late.steps == (f"destination 10.1.2.3: {via}",)
    assert {each.at for each in first.rewritten} >= {5, 22}
    assert [each.became for each in first.exits] == ["sent"]
    assert (drop.steps, drop.dropped) == (("destination 10.2.0.1: its route drops it",), "filtered")
    assert (none.steps, none.dropped) == (("destination 9.9.9.9: no route",), "no_route")
    assert (late.dropped, zeros.dropped) == ("ttl_expired", "not_routed")
    assert zeros.steps == ("its destination is not looked up",)


def test_a_switch_floods_what_it_does_not_know(tmp_path):
    result, outs = trace(tmp_path, mixed(3), "switch", ports=3)
    for each in result.traced:
        assert each.steps == ("destination 02:00:00:00:00:02 is not known: flooded",)
        assert [exit_by.became for exit_by in each.exits] == ["sent", "sent"]
    assert outs == [mixed(3)] * 2


def test_a_run_ends_after_the_last_one_that_was_asked_for():
    how = Forwarding("filter", options={"rule": ["drop"]}, trace=Tracing(3))
    ports = [make_port("null:"), make_port("null:")]
    with ForwardJob(ports, Limits(duration=60), how) as job:
        result = ran(job.run())
    assert (result.ended, len(result.traced)) == ("stopped", 3)


def test_a_mode_without_it_says_so():
    how = Forwarding("impair", trace=Tracing(3))
    ports = [make_port("null:"), make_port("null:")]
    with ForwardJob(ports, Limits(duration=60), how) as job, pytest.raises(NotSupported) as raised:
        job.run()
    assert "has no --trace" in str(raised.value)


def test_an_error_that_comes_before_the_workers_is_the_one_that_is_told(monkeypatch):
    def full(*_):
        raise NoMemory("no room for a worker", "see: ulimit -v")

    monkeypatch.setattr(plan, "Worker", full)
    how = Forwarding("macswap", trace=Tracing())
    with (
        pytest.raises(NoMemory, match="no room for a worker"),
        ForwardJob([make_port("null:"), make_port("null:")], Limits(), how) as job,
    ):
        job.run()
