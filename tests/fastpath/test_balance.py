# SPDX-License-Identifier: Apache-2.0
"""fwd --mode balance: flows stay together, both ways, and stay where they are."""

from __future__ import annotations

import random
import struct

from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1Q, Ether

from tests.support.filters import frames
from tests.support.identity import ran
from tests.support.wire import Wire
from uspnet.jobs.attach.divert import Divert
from uspnet.jobs.forward.balance import Balance, orders
from uspnet.jobs.forward.filter import Filtered
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.forward.route import Router
from uspnet.jobs.forward.switch import Switch
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port

FLOWS = 4000
HEADER = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")


def both_ways():
    """Frames of many flows, in one direction and in the other."""
    noise, there, back = random.Random(1), [], []
    for number in range(FLOWS):
        a, b = noise.randbytes(4), noise.randbytes(4)
        ports = struct.pack("!HH", noise.randrange(1 << 16), noise.randrange(1 << 16))
        for source, sink, ends, way in (
            (a, b, ports, there),
            (b, a, ports[2:] + ports[:2], back),
        ):
            header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, number, 0, 64, 17, 0, source, sink)
            way.append(bytes(12) + b"\x08\x00" + header + ends + bytes(22))
    return there, back


def spread(packets, names, closed=()):
    """Which of the ports but the first each packet leaves by; and the result."""
    ports = [Wire(packets), *(Wire() for _ in names[1:])]
    for port, name in zip(ports, names, strict=True):
        port.name = name
    with ForwardJob(ports, Limits(), Forwarding("balance")) as job:
        job.on_wait = lambda _seconds: None
        set_up = job.set_up

        def closing():
            set_up()
            for port in ports[1:]:
                if port.name in closed:
                    for queue in port.made:
                        queue.base.closed = queue.direction == "tx"

        job.set_up = closing
        result = ran(job.run())
    where = {}
    for port in ports[1:]:
        for data in port.taken:
            where.setdefault(data, set()).add(port.name)
    assert all(len(names) == 1 for names in where.values())
    return {data: names.pop() for data, names in where.items()}, result


def test_both_directions_of_a_flow_take_the_same_port_and_only_those_of_one_that_goes_move():
    there, back = both_ways()
    names = ["in", "a", "b", "c", "d"]
    first, result = spread(there + back, names)
    assert [first[data] for data in there] == [first[data] for data in back]
    counts = [list(first.values()).count(name) for name in names[1:]]
    assert all(0.8 < 4 * count / (2 * FLOWS) < 1.2 for count in counts)
    assert (result.balance.rerouted, result.forwarded) == (0, 2 * FLOWS)
    for kept, more in ((names, {"closed": ["c"]}), ([n for n in names if n != "c"], {})):
        then, result = spread(there, kept, **more)
        moved = {data for data in there if then[data] != first[data]}
        assert moved == {data for data in there if first[data] == "c"}
        assert result.forwarded == FLOWS
    assert len({then[data] for data in moved}) == 3, "they are spread, too"


def test_what_enters_the_others_leaves_by_the_first_one():
    ports = [Wire(), *(Wire(frames()[number::3]) for number in range(3))]
    with ForwardJob(ports, Limits(), Forwarding("balance")) as job:
        assert ran(job.run()).forwarded == len(frames())
    assert sorted(ports[0].taken) == sorted(frames())


def test_one_that_takes_nothing_keeps_no_other_from_its_share():
    """A capture file in second place, say; with rules, any of the others may be named."""
    ports = [Wire(), Wire(), Wire(), Wire()]
    ports[1].can_send = False
    for mode in (Balance, Filtered):
        assert {source[0] for source, _ in mode.routes(ports)} == set(ports)
    ports[0].can_send, ports[1].can_send = False, True  # a file that is sent to the others
    for mode in (Balance, Filtered):
        assert {source[0] for source, _ in mode.routes(ports)} == {ports[0]}


def test_what_makes_packets_without_end_is_a_dump_unless_it_is_the_first_one():
    ports = [Wire(), Wire(), make_port("null:")]
    for mode in (Balance, Filtered, Divert, Switch, Router):
        assert {source[0] for source, _ in mode.routes(ports)} == set(ports[:2]), mode
        assert ports[2] in {source[0] for source, _ in mode.routes(ports[::-1])}, mode
        assert {source[0] for source, _ in mode.routes(ports[1:])} == set(ports[1:]), mode


def test_all_fragments_of_a_datagram_take_the_same_port():
    noise, packets = random.Random(3), []
    for number in range(40):
        big = UDP(sport=noise.randrange(1 << 16), dport=noise.randrange(1 << 16)) / bytes(3000)
        whole = IP(src="10.0.0.1", dst=f"10.0.1.{number}", id=number) / big
        parts = fragment(whole, 1000)
        packets.append([bytes(HEADER / Dot1Q(vlan=5) / part) for part in parts])
        six = IPv6(src="2001:db8::1", dst=f"2001:db8::{number + 2:x}") / IPv6ExtHdrHopByHop()
        head = bytes(TCP(sport=number, dport=80) / bytes(1000))
        packets.append(
            [
                bytes(HEADER / six / IPv6ExtHdrFragment(nh=6, offset=at, m=at == 0, id=7) / data)
                for at, data in ((0, head[:512]), (64, head[512:]))
            ]
        )
        head = bytes(IPv6ExtHdrDestOpt(nh=17) / UDP(sport=number, dport=53) / bytes(1000))
        packets.append(
            [
                bytes(HEADER / six / IPv6ExtHdrFragment(nh=60, offset=at, m=at == 0, id=8) / data)
                for at, data in ((0, head[:512]), (64, head[512:]))
            ]
        )
    where, _ = spread([part for parts in packets for part in parts], ["in", "a", "b", "c"])
    assert all(len({where[part] for part in parts}) == 1 for parts in packets)
    assert len(set(where.values())) == 3


def test_an_order_depends_on_the_names_alone():
    first = [[("x", "a", "b", "c")[at] for at in order] for order in orders(["x", "a", "b", "c"])]
    fewer = [[("y", "c", "a")[at] for at in order] for order in orders(["y", "c", "a"])]
    assert [[name for name in order if name != "b"] for order in first] == fewer


def test_ports_with_the_same_name_share_the_flows():
    chosen = [order[0] for order in orders(["in", "null:", "null:", "null:"])]
    assert min(chosen.count(port) for port in (1, 2, 3)) > len(chosen) / 4
