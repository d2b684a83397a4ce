# SPDX-License-Identifier: Apache-2.0
"""What each of several capture files says was received, lost and written until its end."""

from __future__ import annotations

import itertools
import os
import signal
import time

from tests.support.blocks import ISB, blocks, statistics
from tests.support.captures import counted
from tests.support.processes import children_named
from tests.support.waiting import until


def written(path):
    """Packets of each interface, and the last statistics of each."""
    found = blocks(path)
    last = {each.interface: each.counts() for each in found if each.kind == ISB}
    numbers = dict.fromkeys(last, 0)
    for each in found:
        if each.kind == 6:
            numbers[each.interface] += 1
    return numbers, last


def rises(files, interface):
    """Every block of one interface says as much as the one before, or more."""
    rows = [each.counts() for path in files for each in statistics(path, interface)]
    assert all(rows)
    for one, two in itertools.pairwise(rows):
        assert all(two[name] >= number for name, number in one.items()), (one, two)
        assert two["filteraccept"] - two["osdrop"] == two["usrdeliv"]
        assert two["ifrecv"] >= two["filteraccept"]


def test_each_file_says_what_was_until_its_end(started, tmp_path):
    """Also when the process that writes is behind, of several queues and ports."""
    ports = ["null:queues=2", "null:size=200"]
    job = started("capture", *ports, "-w", tmp_path / "x.pcapng", "-B", "4", "-b", "packets:9000",
                  "--in-process", "greater 0")  # fmt: skip
    (writer,) = until(lambda: children_named(job.process.pid, "writer"))
    until(lambda: len([*tmp_path.glob("x_*")]) > 2)
    before = len([*tmp_path.glob("x_*")])
    os.kill(writer, signal.SIGSTOP)
    lost = until(lambda: job.count("tx_dropped"))
    until(lambda: job.count("tx_dropped") > lost + 1_000_000)
    os.kill(writer, signal.SIGCONT)
    until(lambda: len([*tmp_path.glob("x_*")]) > before + 6)
    result = job.end()
    files = sorted(tmp_path.glob("x_*"))
    assert sum(map(counted, files)) == result["written"]
    sums = {0: 0, 1: 0}
    for path in files:
        numbers, last = written(path)
        for interface, number in numbers.items():
            sums[interface] += number
            assert last[interface]["usrdeliv"] == sums[interface]
    for interface in sums:
        rises(files, interface)
    ends = [statistics(files[-1], interface)[-1].counts() for interface in sums]
    assert sum(end["ifrecv"] for end in ends) == result["received"]
    assert sum(end["osdrop"] for end in ends) == result["dropped"] > 1_000_000


def test_losses_are_told_by_the_file_after_which_they_came(started, tmp_path):
    """A file that is written late does not have what was lost behind its last packet."""
    port = f"memif:{tmp_path}/m.sock"
    started("pktgen", f"{port},role=server", "--rate", "40000")
    until((tmp_path / "m.sock").exists)
    words = ["-w", tmp_path / "x.pcapng", "-B", "1", "-b", "packets:1000"]
    job = started("capture", port, *words)
    (writer,) = until(lambda: children_named(job.process.pid, "writer"))
    until(lambda: len([*tmp_path.glob("x_*")]) > 2)
    os.kill(writer, signal.SIGSTOP)
    full = max(tmp_path.glob("x_*"))  # or to be so soon
    until(lambda: job.count("tx_dropped"))
    dropped = until(lambda: (n := job.count("tx_dropped")) > 200_000 and n)
    went_on = time.time_ns()
    os.kill(writer, signal.SIGCONT)
    until(lambda: len([*tmp_path.glob("x_*")]) > int(full.name[2:7]) + 6)
    job.end()
    files = sorted(tmp_path.glob("x_*"))
    (late,) = (path for path in files if int(path.name[2:7]) == int(full.name[2:7]) + 1)
    end = statistics(late)[-1]
    assert end.times()[1] < went_on
    assert end.counts()["osdrop"] < dropped / 2
    assert end.counts()["usrdeliv"] == 1000 * int(late.name[2:7])
    assert any(statistics(path)[-1].counts()["osdrop"] >= dropped for path in files)
    rises(files, 0)
