# SPDX-License-Identifier: Apache-2.0
"""`uspnet attach`: what it refuses, in words that help. Nothing here makes an interface."""

from __future__ import annotations

import pytest

from tests.support.identity import answer
from uspnet.cli.attach import attach
from uspnet.jobs.choices import Poll

T = ["null:", "--name", "t"]
WRONG = [
    (["null:"], "no name was saved", "--name"),
    (["null:", "--name", ""], "--name is empty", "--name"),
    (["null:", "--name", "a/b"], "a/b", "leave out"),
    (["null:", "--name", "all"], "'all' is no interface name", "something else"),
    ([*T, "--mtu", "67"], "--mtu '67'", ""),
    (["memif:@none,frame=60,role=server", "--name", "t"], "up to 60 bytes", "frame="),
    (["memif:@none,frame=1000,role=server", "--name", "t", "--mtu", "1000"], "986", "frame="),
    ([*T, "--mac", "1"], "--mac '1'", "02:00"),
    ([*T, "--mac", "01:00:00:00:00:00"], "one station", "02:00"),
    ([*T, "--mac", "0:0:0:0:0:0"], "one station", "02:00"),
    ([*T, "--address", "10.0.0.1"], "no prefix", "192.0.2.1/24"),
    ([*T, "--address", "10.0.0.1/33"], "not an address", "192.0.2.1"),
    ([*T, "--address", "224.0.0.1/4"], "of a station", "192.0.2.1"),
    ([*T, "--address", "0.0.0.0/8"], "of a station", "192.0.2.1"),
    ([*T, "--address", "255.255.255.255/32"], "of a station", "192.0.2.1"),
    ([*T, "--address", "fe80::1%lo/64"], "of a station", "192.0.2.1"),
    ([*T, *2 * ["--address", "10.0.0.1/8"]], "twice", "keep one"),
    ([*T, "--tee"], "--tee needs", "--filter"),
    ([*T, "--to", "null:"], "--to needs", "--filter"),
    ([*T, *2 * ["--to", "null:"]], "--to is given twice", "keep one"),
    ([*T, "--filter", "udp"], "needs a port", "--to"),
    ([*T, "--filter", "udpp", "--to", "null:"], "udpp", ""),
    ([*T, "--filter", "udp", "--to", "tap:t"], "--to tap:t: that is the interface", "another"),
    (["packet:lo", *T[1:], "--filter", "udp", "--to", "xdp:lo"], "the port itself", "another"),
    ([*T, "--filter", "udp", "--to", "pcap:/dev/null"], "sends nothing", "pcap:out="),
    (["pcap:out=/dev/null", "--name", "t"], "can't receive", "attach a NIC"),
]


def test_mistakes_are_told_with_a_hint(uspnet):
    for words, text, hint in WRONG:
        done = uspnet("attach", *words, "--json", "--duration", "1")
        error = answer(done.stdout)
        assert (done.returncode, error["error"]) == (2, "Usage"), (words, error)
        assert text in error["message"], (words, error)
        assert hint in error["hint"], (words, error)


def test_a_name_that_exists_is_busy(uspnet):
    done = uspnet("attach", "null:", "--name", "lo")
    assert done.returncode == 1
    assert "there is an interface lo already" in done.stderr
    assert "ip link show lo" in done.stderr


@pytest.mark.parametrize(("poll", "wanted"), [(None, "sleep"), (Poll.busy, "busy")])
def test_a_worker_leaves_its_core_to_the_programs_unless_told_otherwise(monkeypatch, poll, wanted):
    jobs = []
    monkeypatch.setattr("uspnet.cli.run.run", lambda job, *_: jobs.append(job))
    attach("null:", name="t", poll=poll)
    assert [job.limits.poll for job in jobs] == [wanted]
