# SPDX-License-Identifier: Apache-2.0
"""`--fail-on-loss` where nobody counts what a port has missed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from uspnet.cli.checks import lossless_on_receive


def row(port, received, missed):
    return SimpleNamespace(port=port, rx_packets=received, rx_missed_errors=missed)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([("null:", 5, 0)], None),
        ([("tap:a", 5, None), ("null:", 5, 0), ("tap:b", 5, None), ("tap:c", 0, None)], "a, tap:b"),
    ],
)
def test_ports_that_can_not_tell_what_they_missed_are_named(rows, named):
    result = SimpleNamespace(ports=[row(*each) for each in rows], drops={}, missed=None, before=[])
    told, failed = (check(result) for check in lossless_on_receive(0, lambda _: 5))
    text = "--fail-on-loss leaves out what these ports missed, which nobody counts"
    assert (told, failed) == (named and f"{text}: tap:{named}", None)
    assert lossless_on_receive(None, lambda _: 5) == []


def test_packets_before_a_cold_upgrade_are_packets_too():
    before = [{"ports": [{"port": "tap:a", "rx_packets": 5}, {"port": "tap:b", "rx_packets": 0}]}]
    rows = [row("tap:a", 0, None), row("tap:b", 0, None)]
    result = SimpleNamespace(ports=rows, drops={}, missed=None, before=before)
    told, _ = (check(result) for check in lossless_on_receive(0, lambda _: 5))
    assert told.endswith("nobody counts: tap:a")
