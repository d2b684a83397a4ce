# SPDX-License-Identifier: Apache-2.0
"""attach --filter: what libpcap's own interpreter accepts goes aside, and only of the port's."""

from __future__ import annotations

import pytest

from tests.support.filters import Edge, Judge, frames
from tests.support.identity import ran
from tests.support.wire import Wire
from uspnet.jobs.attach.divert import Divert
from uspnet.jobs.attach.result import AttachResult
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.packets.filter import compile_filter


class Diverts(ForwardJob):
    """The job without an interface."""

    answer = AttachResult

    def told(self):
        return {"interface": None}


@pytest.mark.parametrize("source", [0, 1, 2])
@pytest.mark.parametrize("tee", [False, True])
def test_packets_go_where_the_filter_has_them(source, tee):
    only = compile_filter("udp or vlan 7")
    packets = list(frames()) * 3
    ports = [Wire(packets if number == source else ()) for number in range(3)]
    how = Forwarding(kind=Divert, options={"only": only, "tee": tee})
    with Diverts(ports, Limits(), how) as job:
        result = ran(job.run())
    edge, judge = Edge(), Judge(only.steps)
    hits = [data for data in packets if judge(edge.put(data)[1], len(data), len(data))]
    assert 0 < len(hits) < len(packets)
    others = packets if tee else [data for data in packets if data not in set(hits)]
    wanted = [[], others, hits] if source == 0 else [packets, [], []]
    assert [port.taken for port in ports] == wanted
    counted = hits if source == 0 else []
    assert (result.diverted.packets, result.diverted.bytes) == (
        len(counted),
        sum(map(len, counted)),
    )
    assert result.copied == len(counted) * tee
