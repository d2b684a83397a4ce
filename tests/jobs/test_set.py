# SPDX-License-Identifier: Apache-2.0
"""fwd --set: what leaves is rewritten, whatever the mode; what a mode decides by is not."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import ran
from uspnet.errors import NotSupported
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.forward.trace import Tracing
from uspnet.jobs.plan import Limits
from uspnet.packets.setting import read_rewrite
from uspnet.ports.registry import make_port

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
SETS = ["ip.dst=192.0.2.7", "vlan=9"]


def packet(number, dst="10.0.0.2", port=53):
    return IP(src="10.0.0.1", dst=dst) / UDP(sport=9, dport=port) / number.to_bytes(4, "big")


def mixed(count, dst="10.0.0.2", tags=(), port=53):
    """Packets of which every fourth is ARP, with a destination and tags."""
    made = [packet(n, dst, port if n % 2 else 1) if n % 4 else ARP(psrc="10.0.0.1")
            for n in range(count)]  # fmt: skip
    frames = []
    for each in made:
        head = Ether(**MACS)
        for vlan in tags:
            head /= Dot1Q(vlan=vlan)
        frames.append(bytes(head / each))
    return frames


def forward(folder, frames, mode, *, sets=SETS, ports=2, mirror=False, trace=None, **options):
    """The result of a job, and what has left by each of its other ports, and the mirror."""
    write_pcap(folder / "in.pcap", frames)
    outs = [folder / f"{number}.pcap" for number in range(1, ports + mirror)]
    specs = [f"pcap:{folder}/in.pcap", *(f"pcap:out={out},format=pcap" for out in outs)]
    made = [make_port(spec) for spec in specs]
    copies = made.pop() if mirror else None
    how = Forwarding(mode, options=options, mirror=copies, rewrite=read_rewrite(sets), trace=trace)
    with ForwardJob(made, Limits(duration=60, process=True), how) as job:
        result = ran(job.run())
    return result, [pcap_frames(out) for out in outs]


def swapped(frames):
    return [each[6:12] + each[:6] + each[12:] for each in frames]


@pytest.mark.parametrize("traced", [None, Tracing(1000)])
@pytest.mark.parametrize("mode", ["io", "macswap"])
def test_all_that_leaves_is_rewritten_and_counted(tmp_path, mode, traced):
    result, (out,) = forward(tmp_path, mixed(200), mode, trace=traced)
    wanted = mixed(200, "192.0.2.7", [9])
    assert out == (wanted if mode == "io" else swapped(wanted))
    assert [(each.set, each.packets, each.without) for each in result.set] == [
        ("vlan=9", 200, 0),
        ("ip.dst=192.0.2.7", 150, 50),
    ]
    if traced:
        assert {len(each.rewritten) > 0 for each in result.traced} == {True}
        assert {each.exits[0].became for each in result.traced} == {"sent"}


def test_rules_see_packets_as_they_came(tmp_path):
    rules = ["drop udp port 53 and dst 10.0.0.2", "to:3 arp", "pass dst 10.0.0.2", "drop"]
    frames = mixed(200)
    result, outs = forward(tmp_path, frames, "filter", ports=3, rule=rules)
    wanted = mixed(200, "192.0.2.7", [9])
    assert outs == [wanted[2::4], wanted[::4]]
    assert result.drops == {"filtered": 100}
    assert [(each.packets, each.without) for each in result.set] == [(100, 0), (50, 50)]


def test_each_copy_is_rewritten_once_and_a_mirror_gets_packets_as_they_came(tmp_path):
    frames = mixed(100)
    result, outs = forward(tmp_path, frames, "switch", ports=3, mirror=True)
    wanted = mixed(100, "192.0.2.7", [9])
    assert outs == [wanted, wanted, frames]
    assert result.copied == 200
    assert [each.packets + each.without for each in result.set] == [200, 200]


def test_a_mirror_alone_gets_packets_as_they_came(tmp_path):
    frames = mixed(100)
    _, outs = forward(tmp_path, frames, "io", mirror=True)
    assert outs == [mixed(100, "192.0.2.7", [9]), frames]


def test_flows_are_balanced_by_what_came(tmp_path):
    frames = mixed(200)
    plain, before = forward(tmp_path, frames, "balance", sets=["vlan.prio=1"], ports=4)
    assert [each.packets for each in plain.set] == [0]
    _, after = forward(tmp_path, frames, "balance", ports=4)
    wanted = dict(zip(frames, mixed(200, "192.0.2.7", [9]), strict=True))
    assert after == [[wanted[each] for each in outs] for outs in before]


def test_a_tag_is_taken_away(tmp_path):
    result, (out,) = forward(tmp_path, mixed(8, tags=[5]) + mixed(4), "io", sets=["vlan=none"])
    assert out == mixed(8) + mixed(4)
    assert [(each.packets, each.without) for each in result.set] == [(8, 4)]


@pytest.mark.parametrize("traced", [None, Tracing(1000)])
def test_what_can_have_no_tag_is_dropped(tmp_path, traced):
    long = mixed(2)[1].ljust(65533, b"x")
    frames = [*mixed(5), long, *mixed(5)]
    result, (out,) = forward(tmp_path, frames, "io", trace=traced)
    assert out == mixed(5, "192.0.2.7", [9]) * 2
    assert (result.forwarded, result.drops) == (10, {"too_long": 1})
    if traced:
        assert result.traced[5].exits[0].became == "too_long"


def test_a_mode_without_it_says_so():
    how = Forwarding("impair", rewrite=read_rewrite(SETS))
    ports = [make_port("null:"), make_port("null:")]
    with ForwardJob(ports, Limits(duration=60), how) as job, pytest.raises(NotSupported) as raised:
        job.run()
    assert "the loop impair has no --set" in str(raised.value)
