# SPDX-License-Identifier: Apache-2.0
"""fwd --mode filter: each packet goes where the first rule has it, by libpcap's own judgement."""

from __future__ import annotations

import random

import pytest

from tests.support.filters import Edge, Judge, frames
from tests.support.identity import ran
from tests.support.wire import Wire
from uspnet.errors import Usage
from uspnet.fastpath import lib
from uspnet.jobs.forward.filter import Filtered, read_rule
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits

RULES = (
    "drop udp port 53",
    "to:3 tcp",
    "pass arp or icmp",
    "to:1 vlan 7",
    "drop ip6",
    "to:2 udp",
    "drop greater 60",
)


def run(ports, rules, burst=32):
    with ForwardJob(
        ports, Limits(burst=burst), Forwarding("filter", options={"rule": rules})
    ) as job:
        notices = []
        job.on_notice = notices.append
        return ran(job.run()), [text for text in notices if "rule" in text]


def expected(rules, ports, packets, partner):
    """Where each packet goes, by port, and which rule has it, by number."""
    edge = Edge()
    judges = [(rule, Judge(rule.only.steps) if rule.only else None) for rule in rules]
    taken, hits = [[] for _ in ports], [0] * len(rules)
    for data in packets:
        _, address = edge.put(data)
        number, rule = next(
            (number, rule)
            for number, (rule, judge) in enumerate(judges)
            if judge is None or judge(address, len(data), len(data))
        )
        hits[number] += 1
        if rule.act != lib.RULE_DROP:
            taken[partner if rule.port is None else rule.port].append(data)
    return taken, hits


@pytest.mark.parametrize("source", [0, 2])
def test_the_first_rule_that_accepts_a_packet_decides(source):
    noise = random.Random(source)
    packets = [noise.choice(frames()) for _ in range(2000)]
    ports = [Wire(packets if number == source else ()) for number in range(3)]
    rules = Filtered.prepare(ports, Filtered.options(RULES))
    assert rules[-1].text == "pass"
    taken, hits = expected(rules, ports, packets, 0 if source else 1)
    result, notices = run(ports, RULES, burst=noise.randint(1, 64))
    assert [port.taken for port in ports] == taken
    assert [each.packets for each in result.rules] == hits
    assert sum(hits) == result.received
    assert sum(each.bytes for each in result.rules) == sum(map(len, packets))
    assert result.drops == {"filtered": 2000 - sum(map(len, taken))}
    assert not notices
    assert all(hits), "every rule has been tried"


def test_rules_that_no_packet_reaches_are_named():
    rules = ["pass tcp", "drop tcp", "to:2", "drop udp", "pass"]
    result, notices = run([Wire(frames()[:50]), Wire()], rules)
    assert [text.split("'")[1] for text in notices] == ["drop tcp", "drop udp", "pass"]
    assert [each.rule for each in result.rules] == rules
    assert (result.forwarded, result.dropped) == (result.received, 0)


def test_a_rule_that_is_wrong_is_shown():
    ports = [Wire(), Wire()]
    ports[1].can_send = False
    wrong = {
        "let tcp": ("is no rule", "^~~"),
        "": ("is no rule", "^"),
        "drop tcp prot 80": ("syntax error", "         ^~~~"),
        "to:3 tcp": ("there is no such port", "       ^"),
        "to:2": ("it sends nothing", "       ^"),
        "to:": ("is no rule", "^~~"),
    }
    for text, (what, caret) in wrong.items():
        with pytest.raises(Usage) as raised:
            read_rule(text, ports)
        assert what in raised.value.message
        assert raised.value.lines[-1].strip() == caret.strip()
        assert raised.value.hint
    for options in ({}, {"rule": []}, {"rule": ["pass"] * 300}):
        with pytest.raises(Usage):
            ForwardJob([Wire(), Wire()], Limits(), Forwarding("filter", options=options))
