# SPDX-License-Identifier: Apache-2.0
"""fwd --mirror: a further port gets all that comes, and nothing else changes."""

from __future__ import annotations

import pytest

from tests.support.filters import frames
from tests.support.identity import ran
from tests.support.wire import Wire
from uspnet.errors import Usage
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits

MODES = {
    "io": (2, {}),
    "switch": (3, {}),
    "filter": (3, {"rule": ["drop udp", "to:3 tcp"]}),
    "balance": (4, {}),
    "route": (3, {"routes": "routes"}),
}


@pytest.fixture(autouse=True)
def routes(tmp_path, monkeypatch):
    """A route file in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes").write_text("default via 192.0.2.1 port 2 mac 02:00:00:00:00:02")


def run(mode, source, mirror=None):
    count, options = MODES[mode]
    ports = [Wire(frames() if number == source else ()) for number in range(count)]
    for number, port in enumerate(ports):
        port.name = f"port{number}"
    with ForwardJob(ports, Limits(), Forwarding(mode, options=options, mirror=mirror)) as job:
        return [port.taken for port in ports], ran(job.run())


@pytest.mark.parametrize("mode", MODES)
def test_the_mirror_gets_all_packets_and_the_others_what_they_get_without_it(mode):
    for source in (0, 1):
        mirror = Wire()
        taken, result = run(mode, source, mirror)
        plain, without = run(mode, source)
        assert (mirror.taken, taken) == (list(frames()), plain)
        assert result.copied == without.copied + len(frames())
        assert result.drops == without.drops


def test_a_mirror_that_can_not_be_is_refused():
    both = [Wire(), Wire()]
    for mode in ("macswap", "impair"):
        with pytest.raises(Usage) as raised:
            ForwardJob(both, Limits(), Forwarding(mode, mirror=Wire()))
        assert "io" in raised.value.hint
    mirror = Wire()
    mirror.can_send = False
    with pytest.raises(Usage, match="sends nothing"):
        ForwardJob(both, Limits(), Forwarding(mirror=mirror))
