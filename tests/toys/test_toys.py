# SPDX-License-Identifier: Apache-2.0
"""A forwarding mode and a packet field are one C file and one Python file each, and a NIC whose
descriptor format is known is one Python file, found by name.

A copy of the tree is built with the toys beside this test in their folders; nothing else changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.support.captures import pcap_frames, write_pcap
from tests.support.paths import ROOT
from tests.support.waiting import scaled

FIELD = """
import json, sys
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.fields.field import find_field
from uspnet.packets.frames import udp_template
from uspnet.ports.registry import make_port
template = udp_template(60, "02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2",
                        1024, 9)
traffic = Traffic([template], fields=[find_field("counter_byte")(at=at) for at in (50, 59)])
with GenerateJob(make_port(sys.argv[1]), Limits(count=1000), traffic) as job:
    print(json.dumps({"uspnet": "0", **job.run().as_json()}))
"""


@pytest.mark.parametrize("count", [1, 31, 1000])
def test_every_second_packet_leaves_by_the_third_port(toys, tmp_path, count):
    frames = [number.to_bytes(4, "big") * 15 for number in range(count)]
    write_pcap(tmp_path / "in.pcap", frames)
    sinks = [tmp_path / "b.pcap", tmp_path / "c.pcap"]
    words = [f"pcap:{tmp_path}/in.pcap", *(f"pcap:out={sink},format=pcap" for sink in sinks)]
    result = toys("-m", "uspnet", "fwd", *words, "--mode", "every_second", "--json")
    assert pcap_frames(sinks[0]) == frames[::2]
    assert pcap_frames(sinks[1]) == frames[1::2]
    assert (result["received"], result["forwarded"], result["dropped"]) == (count, count, 0)
    assert [port["tx_packets"] for port in result["ports"]] == [0, (count + 1) // 2, count // 2]


@pytest.mark.parametrize("sinks", [1, 2, 5])
def test_packets_leave_by_several_ports_or_by_none(toys, tmp_path, sinks):
    frames = [number.to_bytes(4, "little") * 15 for number in range(1000)]
    write_pcap(tmp_path / "in.pcap", frames)
    outs = [tmp_path / f"{number}.pcap" for number in range(sinks)]
    words = [f"pcap:{tmp_path}/in.pcap", *(f"pcap:out={out},format=pcap" for out in outs)]
    result = toys("-m", "uspnet", "fwd", *words, "--mode", "tee", "--json")
    assert all(pcap_frames(out) == frames[::2] for out in outs)
    assert (result["received"], result["copied"]) == (1000, 500 * (sinks - 1))
    assert (result["forwarded"], result["drops"]) == (500 * sinks, {"filtered": 500})


def test_a_mode_that_wants_none_of_a_file_is_no_failure(toys, tmp_path):
    write_pcap(tmp_path / "in.pcap", [bytes([1]) * 60] * 20_000)
    result = toys(
        "-m", "uspnet", "fwd", f"pcap:{tmp_path}/in.pcap", "null:", "--mode", "tee", "--json"
    )
    assert (result["forwarded"], result["drops"]) == (0, {"filtered": 20_000})


def test_a_mode_says_how_many_ports_it_takes(toys):
    with pytest.raises(AssertionError, match="mode every_second takes 3 ports, and 2 are given"):
        toys("-m", "uspnet", "fwd", "null:", "null:", "--mode", "every_second")


def test_a_byte_counts_packets_in_two_places(toys, tmp_path):
    path = tmp_path / "out.pcap"
    result = toys("-c", FIELD, f"pcap:out={path},format=pcap")
    frames = pcap_frames(path)
    assert result["sent"] == len(frames) == 1000
    assert [frame[50] for frame in frames] == [number % 256 for number in range(1000)]
    assert all(frame[50] == frame[59] for frame in frames)
    rest = {frame[:50] + frame[51:59] for frame in frames}
    assert len(rest) == 1


EVERY_NIC = [  # tests that take every NIC there is
    "tests/ports/test_contract.py",
    "tests/drivers/test_nic_traffic.py",
    "tests/peers/test_nic_fwd.py",
    "tests/vm/test_traffic.py",
    "tests/vm/test_regs.py",
    "tests/vm/test_sleep.py",
]


@pytest.fixture(scope="session")
def with_tests(toys):
    """with_tests(*words) runs pytest on the tree with the toys in it: exit status, output."""
    shutil.copytree(ROOT / "tests", toys.place / "tests")
    shutil.copy(ROOT / "pyproject.toml", toys.place)

    def run(*words):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        done = subprocess.run(
            command,
            cwd=toys.place,
            capture_output=True,
            text=True,
            check=False,
            timeout=scaled(300),
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_tests_of_every_nic_take_a_new_one(with_tests):
    code, said = with_tests("--collect-only", *EVERY_NIC)
    assert code == 0, said
    taken = {line.partition("::")[0] for line in said.splitlines() if "e1000-82545em" in line}
    assert taken == set(EVERY_NIC)


def test_a_new_nic_passes_the_contract(with_tests, qemu):
    code, said = with_tests("tests/ports/test_contract.py", "-k", "82545em and both_ways")
    assert code == 0, said
    assert "1 passed" in said
