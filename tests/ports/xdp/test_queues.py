# SPDX-License-Identifier: Apache-2.0
"""xdp: which queues there are, and that nothing is sent by one that can't send."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import pytest

from tests.support.scribble import traffic
from uspnet.errors import Usage
from uspnet.jobs.forward.io import Io
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.kernel import netdev, xsk
from uspnet.ports.registry import make_port
from uspnet.ports.xdp.channels import Channels
from uspnet.telemetry import UNKNOWN

COUNT = 200


@pytest.fixture
def veth(namespace):
    """The namespace, with interfaces a and b on one cable, each with queues 0 … 3 to receive, and 0
    to transmit.
    """
    four = ("numrxqueues", 4)
    namespace.ip("link", "add", "name", "a", *four, "type", "veth", "peer", "name", "b", *four)
    for name in "ab":
        namespace.ip("link", "set", "dev", name, "up")
    return namespace


def test_what_is_sent_leaves_by_queues_that_can_send(veth):
    """The kernel takes no frame out of the ring of any other, and says nothing."""
    ports = [make_port(f"xdp:{name}") for name in "ab"]
    with veth.entered(), GenerateJob(ports[0], Limits(count=COUNT), traffic(), ports[1]) as job:
        assert [(port.queues, port.tx_queues) for port in ports] == [(4, 1), (4, 1)]
        routes = Io.routes(ports)
        result = job.run()
    assert {(sink, index) for _, exits in routes for sink, index in exits} == {
        (port, 0) for port in ports
    }
    assert len(routes) == 8
    assert (result.sent, result.received + result.missed) == (COUNT, COUNT)


def test_one_that_cant_send_is_refused_to_who_sends(drive, veth):
    with pytest.raises(Usage, match="queue 2 of a can't send") as caught:
        drive("xdp:a,queues=2")
    assert caught.value.hint == "write queues=0; or give it more: ethtool -L a tx 3"
    assert veth.programs() == set()


def test_queues_of_a_driver_that_does_not_tell_them(namespace, monkeypatch):
    """The kernel knows them since Linux 6.8."""
    words = ("numrxqueues", 3, "numtxqueues", 2, "type", "bridge")
    namespace.ip("link", "add", "name", "d", "up", *words)
    with namespace.entered(), closing(make_port("xdp:d")) as port:
        port.open()
        known = (3, 2) if netdev.queues(port.interface.index) else (1, 1)
        assert (port.queues, port.tx_queues) == known
        monkeypatch.setattr(netdev, "queues", lambda _index: None)
        for spec, numbers in (("xdp:d", (0,)), ("xdp:d,queues=5", (5,))):
            with closing(make_port(spec)) as other:
                other.open()
                assert other.numbers == numbers
                assert ("tells no queues" in other.channels.notice()) == (numbers == (0,))


def test_changes_of_queues_are_told_to_jobs_that_use_them():
    told = [(4, 2), (3, 1)]
    interface = SimpleNamespace(name="a", index=1, channels=lambda: told[0])
    jobs = {(r, s): Channels("xdp:a", interface, ()) for r in (False, True) for s in (False, True)}
    told.pop(0)
    for (receives, sends), channels in jobs.items():
        text = " ".join(channels.changes(receives, sends))
        assert ("has 3 receive queues" in text, "has 1 transmit" in text) == (receives, sends)


def test_what_queues_missed_in_zero_copy_is_known_once_one_counts_it():
    port = make_port("xdp:a")
    blank = [SimpleNamespace(missed=0, statistics=[0] * 8) for _ in range(2)]
    queues = [{"direction": "rx", "index": i, "counters": each} for i, each in enumerate(blank)]
    port.made = [SimpleNamespace(**each) for each in queues]
    port.receivers = port.zero_copied = {0, 1}
    for counted, missed, total in (((0, 0), [UNKNOWN] * 2, None), ((5, 0), [5, 0], 5)):
        told = [xsk.Statistics(rx_dropped=count) for count in counted]
        port.sockets = [SimpleNamespace(statistics=lambda each=each: each) for each in told]
        assert port.extra_counters() == {"rx_missed_errors": total}
        assert [queue.counters.missed for queue in port.made] == missed
