# SPDX-License-Identifier: Apache-2.0
"""What fwd --mode impair reads: netem's loss models, queues, and mahimahi's link traces."""

from __future__ import annotations

import contextlib
import random

import pytest

from tests.support.tiers import by_tier
from uspnet.errors import NoDevice, Usage
from uspnet.jobs.forward.netem import (
    GilbertElliott,
    Queue,
    parse_trace,
    read_loss,
    read_queue,
    read_trace,
)
from uspnet.units import Unreadable


def test_loss_has_netems_default_values():
    assert read_loss("0.5%") == 0.005
    assert read_loss("gemodel:1%") == GilbertElliott(0.01, 0.99, 1.0, 0.0)
    assert read_loss("gemodel:1%,10%") == GilbertElliott(0.01, 0.1)
    assert read_loss("gemodel:1%,10%,70%,0.1%") == GilbertElliott(0.01, 0.1, 0.7, 0.001)
    assert read_loss("10%,50%") == GilbertElliott(0.05, 0.45, first=0.1)
    assert read_loss("1%,0") == GilbertElliott(0.01, 0.99, first=0.01)
    wrong_models = ("gemodel", "gemodel:", "gemodel:1", "gemodel:1%,1%,1%,1%,1%", "gemodel:101%")
    for wrong in (*wrong_models, "1%,100%", "1%,", ",1%", "1%,25", "1%,5%,5%"):
        with pytest.raises(Unreadable) as raised:
            read_loss(wrong)
        assert raised.value.hint
    with pytest.raises(Usage):
        GilbertElliott(0.1, 1.5)


def test_queues():
    assert read_queue("fifo") == Queue(1000)
    assert read_queue("fifo:64") == Queue(64)
    assert read_queue("codel") == Queue(1000, 0.005, 0.1)
    assert read_queue("codel:1ms,20ms") == Queue(1000, 0.001, 0.02)
    assert read_queue("codel:1ms,20ms,50") == Queue(50, 0.001, 0.02)
    for wrong in ("red", "fifo:0", "fifo:1,2", "codel:5ms", "codel:20ms,5ms", "codel:1ms,2ms,3,4"):
        with pytest.raises(Unreadable):
            read_queue(wrong)
    for wrong in ({"packets": 0}, {"target": 2.0, "interval": 1.0}, {"interval": 100.0}):
        with pytest.raises(Usage):
            Queue(**wrong)


def test_a_wrong_line_of_a_trace_is_named(tmp_path):
    name = str(tmp_path / "trace")
    for text, line in (
        *(("1\n2\nx\n", 3), ("1\n\n2\n", 2), ("4\n3\n", 2), ("-1\n", 1), ("1.5\n", 1)),
        *((f"1\n{1 << 32}\n", 2), ("9" * 5000, 1), ("0" * 40, 1), ("1\n\x1b[31m\n", 2)),
    ):
        (tmp_path / "trace").write_text(text)
        with pytest.raises(Usage, match=f"trace, line {line}: ") as raised:
            read_trace(name)
        assert raised.value.hint
        assert "\x1b" not in str(raised.value)
    for text in ("", "0\n0\n"):
        (tmp_path / "trace").write_text(text)
        with pytest.raises(Usage, match="take some time"):
            read_trace(name)
    with pytest.raises(NoDevice):
        read_trace(str(tmp_path / "none"))
    (tmp_path / "trace").write_text("0\r\n5\r\n5\r\n7")
    assert list(read_trace(name)) == [0, 5, 5, 7]


def test_any_bytes_are_read_or_refused_with_a_line(tmp_path):
    noise = random.Random(1)
    for _ in range(by_tier(300, 3000, 30_000)):
        rows = [str(number) for number in sorted(noise.choices(range(1000), k=5))]
        data = bytearray("\n".join(rows).encode())
        for _ in range(noise.randrange(3)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        (tmp_path / "trace").write_bytes(data)
        with contextlib.suppress(Usage):
            times = list(read_trace(str(tmp_path / "trace")))
            assert times == sorted(times)
            assert times[-1]


def test_long_traces_are_refused(monkeypatch):
    monkeypatch.setattr("uspnet.jobs.forward.netem.TRACE_LINES", 3)
    assert list(parse_trace("trace", ["1"] * 3)) == [1, 1, 1]
    with pytest.raises(Usage, match="more than 3 lines"):
        parse_trace("trace", ["1"] * 4)
