# SPDX-License-Identifier: Apache-2.0
"""Where every packet went: sums that hold, drops by name, and counts beside an error."""

from __future__ import annotations

import struct
from typing import ClassVar

from tests.support.identity import answer, ran
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.memory import new
from uspnet.ports.null import Null
from uspnet.spec import parse
from uspnet.telemetry import REASONS

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


def record(length, kept=None):
    kept = length if kept is None else kept
    return struct.pack("<IIII", 1, 0, kept, length) + bytes(kept)


def capture_file(path, *records):
    path.write_bytes(HEADER + b"".join(records))
    return f"pcap:{path}"


def test_an_error_ends_the_run_with_what_was_done_until_then(uspnet, tmp_path):
    broken = capture_file(tmp_path / "cut.pcap", record(60), record(60), record(60)[:40])
    told = uspnet("fwd", broken, "null:")
    assert told.returncode == 1
    assert "forwarded 2 packets" in told.stdout
    assert "ends inside it" in told.stderr
    found = answer(uspnet("fwd", broken, "null:", "--json").stdout)
    assert found["error"] == "Malformed"
    assert (found["received"] - found["dropped"], found["forwarded"]) == (2, 2)


def test_a_file_that_is_captured_into_keeps_what_came_before_an_error(uspnet, tmp_path):
    broken = capture_file(tmp_path / "cut.pcap", record(60), record(60)[:40])
    out = tmp_path / "out.pcap"
    told = uspnet("capture", broken, "-w", out, "-F", "pcap", "--json")
    assert told.returncode == 1
    assert answer(told.stdout)["written"] == 1
    assert len(out.read_bytes()) == 24 + 16 + 60


def test_dropped_packets_are_told_by_reason_and_add_up(uspnet, tmp_path):
    long = capture_file(tmp_path / "long.pcap", record(60), record(70000), record(60))
    found = answer(uspnet("fwd", long, "null:", "--json").stdout)
    assert found["drops"] == {"too_long": 1}
    assert found["received"] == found["forwarded"] + found["dropped"] == 3
    assert found["ports"][0]["drops"] == {"too_long": 1}
    told = uspnet("fwd", long, "null:").stdout.splitlines()
    assert "lost 1 (33.3 %)" in told[0]
    assert "missed 0, dropped 1: too long 1" in told


def test_every_reason_has_a_name_and_a_place_of_its_own():
    assert len(set(REASONS.values())) == len(REASONS) <= len(new("struct counters *").drops)
    assert {"no_room", "too_long", "bad_chain"} <= set(REASONS)


class Device(Null):
    """Has missed 5 packets; 3 of them were known at the latest look."""

    unknown: ClassVar[frozenset[str]] = frozenset()

    def control(self):
        self.made[0].base.counters.missed = 3
        super().control()

    def extra_counters(self):
        return {"rx_missed_errors": 5}


def test_what_a_device_missed_is_counted_once():
    with CaptureJob(Device(parse("null:")), Limits(duration=0.2), None) as job:
        result = ran(job.run())
    assert result.missed == result.ports[0].rx_missed_errors == 5
