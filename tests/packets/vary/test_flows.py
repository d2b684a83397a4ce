# SPDX-License-Identifier: Apache-2.0
"""Flows: as many distinct tuples as were asked for, in turn or in shares by Zipf's law."""

from __future__ import annotations

from collections import Counter

import pytest

from uspnet.errors import Usage
from uspnet.packets.craft import craft
from uspnet.packets.fields.program import sample
from uspnet.packets.vary.change import Change
from uspnet.packets.vary.compiler import compile_program
from uspnet.packets.vary.domain import Domain
from uspnet.packets.vary.flows import ONE, alias_table, draw, flow_index

TEXT = "Ether()/IP(src='192.0.2.1',dst='192.0.2.2')/UDP(sport=7,dport=9)/('x'*33)"
TEXT6 = "Ether()/IPv6(src='2001:db8::1',dst='2001:db8::2')/TCP()/('x'*33)"
WIDE = ("ip.src=10.0.0.0/8", "ip.dst=11.0.0.0/8", "udp.sport=random", "udp.dport=list:1,1,2")


def played(change, count, text=TEXT):
    (template,), program = compile_program(craft(text), change)
    return [
        frame
        for first in range(0, count, 64)
        for frame in sample(program, [template.frame] * min(64, count - first), (first, 1))
    ]


@pytest.mark.parametrize("flows", [1, 7, 1000])
@pytest.mark.parametrize("zipf", [None, 0.5])
def test_there_are_as_many_flows_as_were_asked_for(flows, zipf):
    frames = played(Change((*WIDE, "seq32@60"), flows=flows, zipf=zipf), 20 * flows)
    tuples = Counter(frame[26:38] for frame in frames)
    assert len(tuples) <= flows
    if zipf is None:
        assert set(tuples.values()) == {20}
        assert [f[26:38] for f in frames[:flows]] == [f[26:38] for f in frames[flows : 2 * flows]]
    assert [int.from_bytes(f[60:64], "big") for f in frames] == list(range(20 * flows))


def test_all_values_are_used_up_once():
    change = Change(("ip.tos=1-5", "udp.dport=list:1,1,2", "ip.ttl=9"), flows=10)
    frames = played(change, 30)
    assert set(Counter((f[15], f[37]) for f in frames).values()) == {3}
    assert {(f[15], f[37]) for f in frames} == {(a, b) for a in range(1, 6) for b in (1, 2)}


def test_addresses_of_128_bits_move_with_their_ports():
    frames = played(Change(("ip6.src=2001:db8::/32", "tcp.sport=random"), flows=9), 18, TEXT6)
    assert len({f[22:38] + f[54:56] for f in frames}) == len({f[22:38] for f in frames}) == 9


def test_more_values_than_a_machine_word_counts():
    columns = draw(Change(WIDE, flows=1000), [Domain(1 << 64), Domain(1 << 64)])
    assert len(set(zip(*(column.values for column in columns), strict=True))) == 1000


def test_the_same_seed_makes_the_same_flows():
    one = played(Change(WIDE, seed=5, flows=50, zipf=1.0), 100)
    assert one == played(Change(WIDE, seed=5, flows=50, zipf=1.0), 100)
    assert one != played(Change(WIDE, seed=6, flows=50, zipf=1.0), 100)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_shares_follow_zipfs_law(exponent):
    """A chi-squared test of 200,000 draws from 50 flows, at a fixed seed."""
    change = Change(WIDE, seed=11, flows=50, zipf=exponent)
    index, draws = flow_index(change), 200_000
    counts = Counter(index.of(number) for number in range(draws))
    weights = [rank**-exponent for rank in range(1, 51)]
    wanted = [draws * weight / sum(weights) for weight in weights]
    statistic = sum((counts[flow] - n) ** 2 / n for flow, n in enumerate(wanted))
    assert 27.2 < statistic < 78.2  # 0.5 % either side of 49 degrees of freedom
    frames = played(change, 640)
    tuples = [frame[26:38] for frame in frames]
    assert len(set(tuples)) == len({index.of(number) for number in range(640)})


@pytest.mark.parametrize("weights", [[1], [1, 1], [3, 1], [1e-9, 1, 1e9], list(range(1, 200))])
def test_an_alias_table_has_the_weights(weights):
    shares = [0.0] * len(weights)
    for row, (threshold, other) in enumerate(alias_table(weights)):
        own = (threshold + (threshold == ONE - 1)) / ONE / len(weights)
        shares[row] += own
        shares[other] += 1 / len(weights) - own
    assert shares == pytest.approx([w / sum(weights) for w in weights], abs=1e-8)


@pytest.mark.parametrize(("values", "message"), [
    ({"flows": 5}, "nothing varies"),
    ({"vary": WIDE, "zipf": 1.0}, "there are none"),
    ({"vary": WIDE, "flows": 0}, "--flows 0"),
    ({"vary": WIDE, "flows": 1 << 21}, "--flows 2097152"),
    ({"vary": WIDE, "flows": 5, "zipf": 0.0}, "--zipf 0"),
    ({"vary": WIDE, "flows": 5, "zipf": float("nan")}, "--zipf nan"),
])  # fmt: skip
def test_what_makes_no_flows_is_refused(values, message):
    with pytest.raises(Usage, match=message):
        Change(**values)


def test_too_few_values_for_the_flows_are_named():
    with pytest.raises(Usage, match="make only 10 flows") as caught:
        played(Change(("ip.tos=1-5", "udp.dport=list:1,1,2"), flows=11), 1)
    assert "--flows to 10" in caught.value.hint
