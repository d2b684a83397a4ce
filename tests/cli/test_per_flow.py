# SPDX-License-Identifier: Apache-2.0
"""`pktgen --per-flow` as its users meet it: a forwarder of the kernel's own interfaces carries the
packets of one flow later than those of others.
"""

from __future__ import annotations

import itertools

import pytest

from tests.support.between import Between
from tests.support.identity import answer

COUNT, FLOWS, SPORT = 400, 4, slice(34, 36)  # where UDP's source port is
VARY = ["--vary", f"udp.sport=1-{FLOWS}", "--rate", "2k"]
PROFILE = "streams: {a: {vary: [udp.sport=1-4], rate: 1k, count: 400}, b: {rate: 500, count: 200}}"


class Forwarder(Between):
    """Holds the frames until it has all, and sends them flow by flow; with `swapped`, exchanges the
    first two of each flow.
    """

    def __init__(self, namespace, count, swapped):
        super().__init__(namespace)
        self.count, self.swapped = count, swapped

    def run(self):
        flows = {}
        for frame in itertools.islice(self.frames(), self.count):
            flows.setdefault(frame[SPORT], []).append(frame)
        for frames in flows.values():
            frames[:2] = frames[1::-1] if self.swapped else frames[:2]
            for frame in frames:
                self.target.send(frame)


@pytest.fixture
def forwarded(namespace):
    """What runs pktgen, whose packets a forwarder carries."""
    namespace.veth("a", "b")
    namespace.veth("c", "d")

    def run(*words, count=COUNT, swapped=False):
        words = ["packet:a", "--rx-port", "packet:d", *words]
        for _ in range(5):  # the kernel has no room for all where the machine is too busy
            with Forwarder(namespace, count, swapped):
                done = namespace.uspnet("pktgen", *words, "--linger", "1", "--json")
            result = answer(done.stdout)
            if result["received"] == count:
                break
        return result

    return run


@pytest.mark.parametrize("swapped", [False, True])
def test_only_packets_of_one_flow_count(forwarded, swapped):
    result = forwarded(*VARY, "-c", COUNT, "--per-flow", swapped=swapped)
    assert result["reordered"] > 0
    changed = FLOWS * swapped
    assert result["in_flows"] == {
        "flows": FLOWS, "reordered": changed, "flows_reordered": changed, "unknown": 0,
    }  # fmt: skip


def test_streams_are_told_apart(forwarded, tmp_path):
    (tmp_path / "x.yaml").write_text(PROFILE)
    words = ["--profile", tmp_path / "x.yaml", "--per-flow"]
    result = forwarded(*words, count=600, swapped=True)
    found = {each["name"]: each["reordered_in_flows"] for each in result["streams"]}
    assert found["a"] == FLOWS
    assert found["b"] == 1
    assert result["in_flows"]["flows"] == FLOWS + 1


def test_the_summary_has_a_line(uspnet):
    done = uspnet("pktgen", "null:", "--rx-port", "null:", "--per-flow", "-c", "5", "--poll",
                  "sleep")  # fmt: skip
    text = " ".join(done.stdout.split())
    assert "reordered in flows 0, in 0 of 0 flows, of unknown flows 0" in text


WRONG = [
    ([], "--per-flow needs --rx-port", "add --rx-port PORT"),
    (["--replay", "x.pcap"], "--per-flow conflicts with --replay", "no sequence numbers"),
    (["--rx-port", "null:", "--no-sequence"], "sequence numbers", "drop --no-sequence"),
    (
        ["--rx-port", "null:", "--dry-run", "-w", "x.pcapng"],
        "--per-flow conflicts with --dry-run",
        "drop --per-flow",
    ),
]


@pytest.mark.parametrize(("words", "told", "hint"), WRONG)
def test_what_makes_no_sense_is_refused(uspnet, words, told, hint):
    done = uspnet("pktgen", "null:", "-c", "1", "--per-flow", *words)
    first, second = done.stderr.splitlines()
    assert done.returncode == 2
    assert told in first
    assert hint in second


def test_a_profile_needs_a_port_to_return_to(uspnet, tmp_path):
    (tmp_path / "x.yaml").write_text("streams: {a: {count: 5}}")
    done = uspnet("pktgen", "null:", "--profile", str(tmp_path / "x.yaml"), "--per-flow")
    assert done.returncode == 2
    assert "add --rx-port PORT" in done.stderr
