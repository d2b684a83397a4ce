# SPDX-License-Identifier: Apache-2.0
"""The order within each flow, through a forwarder that the test plays, beside RFC 4737's definition
of a reordered packet, applied to each flow by itself.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from scapy.all import IP, Ether

from tests.jobs.test_recovery import mortal, torment  # noqa: F401 - a fixture
from tests.support.identity import ran
from tests.support.tiers import by_tier
from tests.support.wire import Echo
from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs import flow_order
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.profile import ProfileJob
from uspnet.jobs.stream import Stream
from uspnet.jobs.traffic import Traffic
from uspnet.packets.craft import craft
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program
from uspnet.ports.registry import make_port

COUNT, WINDOW = 4800, 48


def varied(text, *fields):
    templates, program = compile_program(craft(text, 100), Change(list(fields)))
    return Traffic(templates, sequence=True, fields=[program])


def several(*texts):
    return Traffic([each for text in texts for each in craft(text, 100)], sequence=True)


ADDRESSES = "Ether()/IP(src='10.0.0.1',dst='10.0.0.2')"
KINDS = {  # with the number of flows
    "ports": (lambda: varied("Ether()/IP()/UDP()", "udp.sport=1-6"), 6),
    "addresses": (lambda: varied("Ether()/IP()/TCP()", "ip.dst=10.0.0.1-10.0.0.12"), 12),
    "ipv6": (lambda: varied("Ether()/Dot1Q()/IPv6()/TCP()", "tcp.dport=1-4"), 4),
    "protocols": (lambda: several(f"{ADDRESSES}/UDP()", f"{ADDRESSES}/ICMP()"), 2),
    "directions": (
        lambda: several(
            f"{ADDRESSES}/UDP(sport=7,dport=9)",
            "Ether()/IP(src='10.0.0.2',dst='10.0.0.1')/UDP(sport=9,dport=7)",
        ),
        2,
    ),
    "not IP": (
        lambda: several(*(f"Ether(src='02:00:00:00:00:0{n}',type=0x88b5)" for n in range(1, 4))),
        3,
    ),
    "fragments": (
        lambda: several(
            "Ether()/IP(flags='MF')/UDP()", "Ether()/IP(frag=9,proto=17)/('x'*40)"
        ),
        1,
    ),
    "one": (lambda: several("Ether()/IP()/UDP()"), 1),
}  # fmt: skip


class Held(Echo):
    """Returns so many frames at a time, in the order that `mix` puts (number, frame) into."""

    def __init__(self, mix):
        super().__init__(self._hold)
        self.mix, self.held, self.came = mix, [], []

    def _hold(self, frame, number):
        self.held.append((number, frame))
        if len(self.held) < WINDOW:
            return []
        mixed, self.held = self.mix(self.held), []
        self.came += [number for number, _ in mixed]
        return [frame for _, frame in mixed]


def by_flow(flows):
    """A forwarder with a queue for each flow, which serves one after the other."""
    return lambda held: sorted(held, key=lambda pair: pair[0] % flows)


def mixed(chance):
    """Everything that may happen: changed places, losses, duplicates."""

    def mix(held):
        held = [pair for pair in held if chance.random() > 0.1]
        held += chance.choices(held, k=5)
        return sorted(held, key=lambda pair: pair[0] + chance.randrange(40))

    return mix


def routed(frame):
    """The frame as a router sends it on."""
    packet = Ether(frame)
    packet.src, packet.dst = "02:00:00:00:00:08", "02:00:00:00:00:09"
    packet[IP].ttl -= 1
    del packet[IP].chksum
    return bytes(packet)


def measured(port, traffic, count=COUNT):
    limits = Limits(count=count, linger=0.1)
    with GenerateJob(port, limits, traffic, port) as job:
        job.order_flows()
        return ran(job.run())


def expected(came, flows):
    """RFC 4737, 3.3, in each flow: of what is no duplicate, what has a number below a former."""
    highest, seen, reordered = defaultdict(int), set(), Counter()
    for number in came:
        flow = number % flows
        if number in seen:
            continue
        seen.add(number)
        reordered[flow] += number < highest[flow]
        highest[flow] = max(highest[flow], number)
    found = sum(reordered.values())
    return (len(highest), found, sum(count > 0 for count in reordered.values()), 0)


def counts(result):
    each = result.in_flows
    return (each.flows, each.reordered, each.flows_reordered, each.unknown)


@pytest.mark.parametrize("kind", KINDS)
def test_packets_of_different_flows_may_change_places(kind):
    traffic, flows = KINDS[kind]
    result = measured(Held(by_flow(flows)), traffic())
    assert (result.received, result.reordered > 0) == (COUNT, flows > 1)
    assert counts(result) == (flows, 0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_packets_of_one_flow_are_counted_when_they_do(kind):
    traffic, flows = KINDS[kind]
    port = Held(mixed(random.Random(kind)))
    result = measured(port, traffic())
    assert result.duplicated > 0
    assert result.lost > 0
    assert counts(result) == expected(port.came, flows)
    assert 0 < result.in_flows.reordered <= result.reordered


def test_a_flow_is_the_same_behind_a_router():
    port = Held(lambda held: [(number, routed(frame)) for number, frame in by_flow(6)(held)])
    result = measured(port, KINDS["ports"][0](), 480)
    assert (result.received, result.reordered > 0, *counts(result)) == (480, True, 6, 0, 0, 0)


def test_flows_without_a_place_are_unknown(monkeypatch):
    monkeypatch.setattr(flow_order, "PLACES", lib.FLOW_ORDER_PROBES)
    flows = 3 * lib.FLOW_ORDER_PROBES
    port = Held(lambda held: held)
    result = measured(port, varied("Ether()/IP()/UDP()", f"udp.sport=1-{flows}"), flows * 10)
    places = lib.FLOW_ORDER_PROBES
    assert counts(result) == (places, 0, 0, (flows - places) * 10)


def test_a_hundred_thousand_flows_have_places():
    flows = 100_000
    traffic = varied("Ether()/IP()/UDP()", "ip.src=10.0.0.0-10.1.134.159")
    result = measured(Echo(lambda frame, _: [frame]), traffic, flows)
    assert counts(result) == (flows, 0, 0, 0)


def test_without_the_option_nothing_is_known_of_flows():
    port = Echo(lambda frame, _: [frame])
    with GenerateJob(port, Limits(count=10), KINDS["one"][0](), port) as job:
        assert ran(job.run()).in_flows is None


def test_each_stream_has_flows_of_its_own():
    """Both have the same addresses; those of the first change places."""

    def mix(held):
        second = [pair for pair in held if pair[1][-17]]  # the signature's stream
        return [*reversed([pair for pair in held if not pair[1][-17]]), *second]

    port = Held(mix)
    streams = [Stream(name, port, KINDS["one"][0](), count=480) for name in ("one", "two")]
    with ProfileJob(streams, Limits(linger=0.1), rx_port=port) as job:
        job.order_flows()
        result = ran(job.run())
    one, two = result.streams
    assert (two.reordered, two.reordered_in_flows) == (0, 0)
    assert one.reordered == one.reordered_in_flows == result.in_flows.reordered > 0
    assert (result.in_flows.flows, result.in_flows.flows_reordered) == (2, 1)


@pytest.mark.parametrize(
    ("returns", "sequence", "hint"), [(False, True, "add --rx-port"), (True, False, "--no-seq")]
)
def test_order_is_that_of_packets_with_numbers_that_return(returns, sequence, hint):
    port = Echo(lambda frame, _: [frame])
    traffic = Traffic(craft("Ether()/IP()/UDP()", 100), sequence=sequence)
    job = GenerateJob(port, Limits(count=1), traffic, port if returns else None)
    with pytest.raises(Usage) as raised:
        job.order_flows()
    assert hint in raised.value.hint


@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")
def test_deaths_of_the_process_reorder_nothing(tmp_path, mortal):  # noqa: F811
    path = tmp_path / "m.sock"
    ports = [make_port(f"memif:{path},role={role}") for role in ("server", "client")]
    with GenerateJob(ports[0], Limits(duration=60), KINDS["ports"][0](), ports[1]) as job:
        job.order_flows()
        life, chance, before = mortal(job), random.Random(1), 0
        for _ in range(by_tier(5, 15, 500)):
            life.live(chance.uniform(0, 0.004))
            flows = job._measures[0].flow_order.result().flows
            assert flows >= before
            before = flows
        life.live_until(lambda: job._measures[0].flow_order.result().flows >= 6)
        result = ran(life.stop())
    assert result.in_flows.reordered <= result.reordered
    assert result.in_flows.unknown == 0
