# SPDX-License-Identifier: Apache-2.0
"""A worker that makes a call which its ports don't list is ended, and the call is named: in jobs of
every kind of port.
"""

from __future__ import annotations

import json

import pytest

from tests.support.captures import write_pcap
from tests.support.sealed import ATTEMPTS
from tests.support.tiers import by_tier
from uspnet.fastpath import lib
from uspnet.sandbox.available import available

pytestmark = [
    pytest.mark.skipif(available().seccomp is None, reason="needs seccomp"),
    pytest.mark.skipif(bool(lib.built_with_asan()), reason="AddressSanitizer: no worker process"),
]
KINDS = {
    "null": ("null:", "null:"),
    "pcap": ("pcap:{place}/in.pcap,timing=on,loop=on", "pcap:out={place}/out.pcap"),
    "memif": ("memif:{place}/m.sock,role=server", "memif:{place}/m.sock,role=client"),
    "packet": ("packet:a0", "null:"),
    "tap": ("tap:tap0", "null:"),
}
EVERY = [(kind, what) for kind in KINDS for what in ATTEMPTS]
SOME = [(list(KINDS)[at % len(KINDS)], what) for at, what in enumerate(ATTEMPTS)]


@pytest.fixture
def job_ports(tmp_path, namespace):
    """job_ports(kind): the ports of a job. Interfaces are those of a namespace of the test's."""
    write_pcap(tmp_path / "in.pcap", [bytes(60)])
    namespace.veth("a0", "b0")
    with namespace.entered():
        yield lambda kind: [each.format(place=tmp_path) for each in KINDS[kind]]


@pytest.mark.parametrize(("kind", "what"), by_tier(SOME, EVERY))
def test_every_kind_of_job_ends_at_a_call_that_is_not_listed(toys, job_ports, kind, what):
    name, arguments = ATTEMPTS[what]
    texts = [each.decode() if isinstance(each, bytes) else each for each in arguments]
    words = (
        "fwd",
        *job_ports(kind),
        "--mode",
        "attempt",
        "--duration",
        "20s",
        "--json",
        "--restart",
        "0",
    )
    result = toys("-m", "uspnet", *words, code=1, ATTEMPT=json.dumps([name, texts]))
    assert result["error"] == "DeviceFault"
    assert f"it called {name}, which the sandbox does not allow to" in result["message"]
    assert f"{kind}:" in result["message"]
    assert result["sandbox"]["seccomp"] <= 20
