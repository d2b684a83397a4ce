# SPDX-License-Identifier: Apache-2.0
"""Replay of packets that were captured in part: sent like that, padded, or skipped; and counted."""

from __future__ import annotations

import subprocess

import pytest

from tests.fastpath.test_loops import Wire
from tests.support.identity import ran
from tests.support.pcap_rig import FRAMES, classic, enhanced, interface, pcapng, section
from uspnet.jobs.plan import Limits
from uspnet.jobs.replay import ReplayJob
from uspnet.ports.pcap.port import Pcap
from uspnet.ports.registry import make_port

SNAPLEN = 61
CUT = [frame for frame in FRAMES if len(frame) > SNAPLEN]
SENT = {
    "send": [frame[:SNAPLEN] for frame in FRAMES],
    "pad": [frame[:SNAPLEN] + bytes(len(frame[SNAPLEN:])) for frame in FRAMES],
    "skip": [frame for frame in FRAMES if len(frame) <= SNAPLEN],
}


@pytest.fixture(params=["pcapng", "pcap"])
def cut(request, tmp_path):
    """A file of which Wireshark's editcap has cut the packets."""
    whole = tmp_path / "whole"
    whole.write_bytes(classic(">") if request.param == "pcap" else pcapng(">"))
    command = ["editcap", "-F", request.param, "-s", str(SNAPLEN), whole, tmp_path / "cut"]
    subprocess.run(command, check=True)
    return tmp_path / "cut"


def play(path, truncated, out=None, **options):
    wire = out or Wire()
    files = [Pcap.make(path, truncated=truncated, **options)]
    with ReplayJob(wire, Limits(), files) as job:
        return ran(job.run()), getattr(wire, "taken", None)


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("how", SENT)
def test_cut_packets_leave_as_asked_and_are_counted(cut, how, timing):
    result, taken = play(cut, how, timing=timing)
    assert taken == SENT[how]
    (told,) = result.replayed
    assert (told.truncated, told.when_truncated) == (len(CUT), how)
    assert result.skipped == ({"truncated": len(CUT)} if how == "skip" else {})
    assert (result.offered, result.sent) == (len(taken), len(taken))


def test_padded_packets_are_whole_in_a_file(cut, tmp_path):
    out = tmp_path / "out"
    play(cut, "pad", make_port(f"pcap:out={out}"))
    said = subprocess.run(["tshark", "-r", out, "-Tfields", "-eframe.len", "-eframe.cap_len"],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert [line.split() for line in said.splitlines()] == [[str(len(f))] * 2 for f in FRAMES]


def record(frame, wire):
    return enhanced("<", 0, frame, 0, wire=wire)


@pytest.mark.parametrize(
    ("kept", "wire", "reason"),
    [(60, 65536, "too_long"), (60, 2**32 - 1, "too_long"), (0, 60, "too_short")],
)
def test_what_can_not_be_padded_is_left_out_by_name(tmp_path, kept, wire, reason):
    head = section("<") + interface("<")
    data = head + record(bytes(kept), wire) + record(FRAMES[0], 60) + record(FRAMES[0], 9728)
    (tmp_path / "x").write_bytes(data)
    result, taken = play(tmp_path / "x", "pad")
    assert taken == [FRAMES[0], FRAMES[0] + bytes(9728 - 60)]
    assert result.skipped == {reason: 1}


def test_no_byte_of_the_file_behind_a_packet_is_sent(tmp_path):
    head = section("<") + interface("<")
    (tmp_path / "x").write_bytes(head + (record(b"\1" * 60, 200) + record(b"\2" * 999, 999)) * 500)
    _, taken = play(tmp_path / "x", "pad")
    assert taken == [b"\1" * 60 + bytes(140), b"\2" * 999] * 500
