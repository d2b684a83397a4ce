# SPDX-License-Identifier: Apache-2.0
"""A worker that makes a call which its ports don't list is ended, and the call is named: in jobs of
every kind, on every kind of port.
"""

from __future__ import annotations

import json
import os

import pytest

from tests.support.captures import write_pcap
from tests.support.sealed import ATTEMPTS
from uspnet.fastpath import lib
from uspnet.sandbox.available import available

pytestmark = [
    pytest.mark.skipif(available().seccomp is None, reason="needs seccomp"),
    pytest.mark.skipif(bool(lib.built_with_asan()), reason="AddressSanitizer: no worker process"),
]
MEMIF = "memif:@uspnet-attempt-{pid},role="
KINDS = {  # a port that sends, one that receives, and what forwards
    "null": ("null:", "null:", ["null:", "null:"]),
    "pcap": (
        "pcap:out={place}/out.pcap",
        "pcap:{place}/in.pcap,timing=on,loop=on",
        ["pcap:{place}/in.pcap,timing=on,loop=on", "pcap:out={place}/out.pcap"],
    ),
    "memif": (MEMIF + "client", MEMIF + "client", [MEMIF + "server", MEMIF + "client"]),
    "packet": ("packet:a0", "packet:a0", ["packet:a0", "null:"]),
    "tap": ("tap:tap0", "tap:tap0", ["tap:tap0", "null:"]),
    "qemu": ("qemu:e1000e,loop=on", "qemu:e1000e,loop=on", ["qemu:e1000e,loop=on", "null:"]),
}
JOBS = {
    "pktgen": lambda sends, _receives, _both: ["pktgen", sends],
    "capture": lambda _sends, receives, _both: ["capture", receives],
    "fwd": lambda _sends, _receives, both: ["fwd", *both],
}
WAYS = [(job, kind) for job in JOBS for kind in KINDS]


@pytest.fixture
def words_of(request, tmp_path, namespace):
    """words_of(job, kind): the command. Interfaces are those of a namespace of the test's."""
    write_pcap(tmp_path / "in.pcap", [bytes(60)])
    namespace.veth("a0", "b0")

    def words(job, kind):
        if kind == "qemu":
            request.getfixturevalue("qemu")
        if kind == "memif" and job != "fwd":  # its other side
            namespace.start("fwd", (MEMIF + "server").format(pid=os.getpid()), "null:")
        return [each.format(place=tmp_path, pid=os.getpid()) for each in JOBS[job](*KINDS[kind])]

    with namespace.entered():
        yield words


def texts(arguments):
    return [each.decode() if isinstance(each, bytes) else each for each in arguments]


@pytest.mark.full
@pytest.mark.parametrize(("job", "kind"), WAYS)
def test_every_job_ends_at_a_call_that_is_not_listed(toys, words_of, job, kind):
    """One worker process after the other, each at another call; the last one's is the job's end."""
    tried = [(name, texts(arguments)) for name, arguments in ATTEMPTS.values()]
    restarts = len(tried) - 1
    words = (*words_of(job, kind), "--duration", "60s", "--json", "--restart", restarts)
    result = toys("-m", "uspnet", *words, code=1, ATTEMPTS=json.dumps(tried))
    assert result["command"] == job
    assert result["error"] == "DeviceFault"
    assert result["restarts"] == restarts
    refused = "it called {}, which the sandbox does not allow"
    said = [line for line in toys.said.splitlines() if "sandbox does not allow" in line]
    for (name, _), line in zip(tried, [*said, result["message"]], strict=True):
        assert refused.format(name) in line
    assert f"{kind}:" in result["message"]
    assert result["sandbox"]["seccomp"] <= 20
