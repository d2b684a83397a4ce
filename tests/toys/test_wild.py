# SPDX-License-Identifier: Apache-2.0
"""A ring that writes through a wild pointer: its job says so, recovers and goes on; another job
that runs meanwhile is undisturbed.
"""

from __future__ import annotations

import os

import pytest

from tests.support.identity import answer
from tests.support.tiers import by_tier
from tests.support.waiting import scaled, until
from uspnet.fastpath import lib
from uspnet.telemetry import look

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: no worker process"),
]
TIMES = by_tier(5, 20, 200)
EACH = 100_000  # packets between two writes
CAUSE = "the worker process has ended: it was ended by SIGSEGV"


@pytest.mark.parametrize("at", ["nowhere", "code"])
def test_the_job_goes_on_and_another_notices_nothing(toys, at):
    name = f"memif:@uspnet-wild-{os.getpid()}"
    count = (TIMES + 1) * EACH
    source = f"wild:at={at},after={EACH},times={TIMES}"
    other = ["--rate", "20kpps", "--rx-port", f"{name},role=server", "--sequence"]
    with toys.begin("pktgen", f"{name},role=client", *other) as beside:
        try:
            words = ("--count", count, "--restart", TIMES)
            with toys.begin("capture", source, *words) as broken:
                said, told = broken.communicate(timeout=scaled(120))
            assert beside.poll() is None
            until(lambda: any(port.tx_packets for port in look(beside.pid).jobs[0].ports))
        finally:
            beside.send_signal(2)
            whole, words = beside.communicate(timeout=scaled(30))
    result = answer(said)
    assert broken.returncode == 0, told
    assert (result["ended"], result["restarts"]) == ("count", TIMES)
    assert result["received"] == count
    lines = [line for line in told.splitlines() if CAUSE in line]
    assert len(lines) == TIMES
    assert all("a new one goes on" in line for line in lines)
    undisturbed = answer(whole)
    assert (beside.returncode, undisturbed["restarts"]) == (0, 0), words
    assert undisturbed["received"] == undisturbed["sent"] > 0
    assert [undisturbed[name] for name in ("lost", "duplicated", "reordered", "dropped")] == [0] * 4


def test_it_ends_when_it_happens_too_often(toys):
    words = ("capture", f"wild:after={EACH},times=3", "--restart", "2", "--json")
    result = toys("-m", "uspnet", *words, code=1)
    assert result["error"] == "DeviceFault"
    assert result["message"].startswith(CAUSE)
    assert "--restart" in result["hint"]
    assert result["restarts"] == 2
    assert result["received"] > 2 * EACH
