# SPDX-License-Identifier: Apache-2.0
"""The supervisor's parts: lines, causes, restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.support.processes import descriptors
from tests.support.waiting import until
from uspnet.jobs.supervise import child as children
from uspnet.jobs.supervise.child import Child, Lines, cause_of
from uspnet.jobs.supervise.entry import Entry, Level, Restart, RestartLimit
from uspnet.jobs.supervise.supervised import Supervised
from uspnet.jobs.supervise.supervisor import Supervisor
from uspnet.system import processes
from uspnet.system.notify import Notifier
from uspnet.system.processes import is_stuck, thread_states


def test_lines_are_whole_however_they_come():
    lines = Lines(100)
    assert list(lines.feed(b"a\nb")) == [b"a"]
    assert list(lines.feed(b"c\n\nd")) == [b"bc", b""]
    assert list(lines.end()) == [b"d"]
    assert list(lines.end()) == []


def test_a_long_line_is_cut_and_takes_no_memory():
    lines = Lines(4)
    assert list(lines.feed(b"abcdefg")) == [b"abcd"]
    for _ in range(1000):
        assert list(lines.feed(b"x" * 1000)) == []
        assert len(lines._begun) <= 4
    assert list(lines.feed(b"y\nok\nabcdef\n")) == [b"ok", b"abcd"]
    assert list(lines.feed(b"12345")) == [b"1234"]
    assert list(lines.end()) == []


@pytest.mark.parametrize(
    ("code", "result", "words"),
    [
        (0, {"ended": "count"}, "done"),
        (1, {"error": "NoDevice", "message": "no eth9"}, "NoDevice: no eth9"),
        (4, {"error": "Loss", "message": "5 of 9"}, "Loss: 5 of 9"),
        (1, None, "exit code 1: failed"),
        (3, {}, "exit code 3: refused"),
        (99, None, "exit code 99"),
        (-9, {"ended": None}, "killed by SIGKILL (by a user, or by the kernel for lack of memory)"),
        (-11, None, "killed by SIGSEGV (Segmentation fault)"),
        (-31, None, "killed by SIGSYS (Bad system call)"),
        (-40, None, "killed by signal 40"),
    ],
)
def test_causes_are_words(code, result, words):
    assert cause_of(code, result) == words


def job(**more):
    return Supervised(Entry("a", "pktgen", (), **more), lambda *_: None)


def test_the_delay_doubles_up_to_a_minute():
    made = job(restart=Restart.always, limit=RestartLimit(100, 1e9), delay_s=1.0)
    delays = []
    for now in range(9):
        made._ended(0, float(now))
        delays.append(made.due - now)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("delay", [0.0, 300.0])
def test_a_delay_of_the_file_is_kept(delay):
    made = job(restart=Restart.always, delay_s=delay)
    for _ in range(3):
        made._ended(0, 7.0)
        assert made.due == 7.0 + delay


def test_restarts_that_were_long_ago_do_not_count():
    made = job(restart=Restart.on_failure, limit=RestartLimit(2, 10.0))
    states = []
    for now in (0.0, 1.0, 11.5, 12.0, 12.5):
        made._ended(-9, now)
        states.append(made.state)
    assert states == ["restarting"] * 4 + ["failed"]
    assert made.restarts == 4


@pytest.mark.parametrize("policy", Restart)
@pytest.mark.parametrize(("code", "again"), [(0, False), (1, True), (2, False), (3, False),
                                             (4, True), (-9, True)])  # fmt: skip
def test_policies(policy, code, again):
    made = job(restart=policy)
    made._ended(code, 0.0)
    again = {"no": False, "on-failure": again, "always": again or code == 0}[policy]
    assert made.state == ("restarting" if again else "failed" if code else "done")


def test_a_job_that_was_asked_to_end_does_not_start_again():
    made = job(restart=Restart.always)
    made.state = "stopping"
    made._ended(0, 0.0)
    assert made.state == "done"
    made.state = "stopping"
    made._ended(-signal.SIGINT, 0.0)  # before it had a handler
    assert made.state == "done"
    made.state = "stopping"
    made._ended(-signal.SIGKILL, 0.0)
    assert made.state == "failed"


def test_what_a_process_prints_is_text_and_its_last_object(monkeypatch):
    code = r"""
import sys
print('{"ended": null, "n": 1}'); print('not json'); print('[' * 100000); print('{"n": 2}')
sys.stderr.buffer.write(b'one\n\n\x1b[31mtwo\xff'); sys.exit(4)
"""
    monkeypatch.setattr(children.children, "uspnet", lambda *_: [sys.executable, "-c", code])
    seen, reports = [], []
    process = Child([], seen.append)
    process.on_report = reports.append
    until(lambda: process.read() or process.ended() == 4)
    assert (process.result, reports) == ({"n": 2}, [{"ended": None, "n": 1}])
    assert seen == ["one", "\x1b[31mtwo\udcff"]
    process.close()


def test_restarts_cost_no_descriptor(monkeypatch):
    monkeypatch.setattr(
        children.children, "uspnet", lambda *_: ["/bin/sh", "-c", "echo {}; exit 1"]
    )
    entry = Entry("a", "pktgen", (), Restart.always, 0.0, RestartLimit(50, 1e6))
    made = Supervisor([entry], Notifier({}), lambda *_: None)
    before = descriptors()
    (outcome,) = made.run().jobs
    assert (outcome.restarts, outcome.exit_codes, outcome.state) == (50, [1] * 51, "failed")
    assert descriptors() == before


def test_one_that_can_not_be_started_has_failed(monkeypatch):
    monkeypatch.setattr(children.children, "uspnet", lambda *_: ["/none"])
    lines = []
    limit = RestartLimit(2, 60.0)
    entries = [
        Entry("a", "pktgen", (), Restart.on_failure, delay_s=0.0, limit=limit),
        Entry("b", "pktgen", (), after=("a",)),
    ]
    made = Supervisor(entries, Notifier({}), lambda *line: lines.append(line))
    result = made.run()
    assert [each.state for each in result.jobs] == ["failed", "failed"]
    text = "can't be started: No such file or directory"
    assert (Level.error, "b", "not started: a failed") in lines
    assert lines.count((Level.warning, "a", f"{text}; starts again in 0 s")) == 2
    assert (Level.error, "a", f"{text}; was started again 2 times in 60 s: no more") in lines
    assert [each.exit_codes for each in result.jobs] == [[], []]
    assert "2 of 2 jobs failed" in made.failure().message


def test_a_file_that_can_not_even_be_refused_changes_nothing():
    lines = []
    entries = [Entry("a", "pktgen", ())]
    made = Supervisor(entries, Notifier({}), lambda *line: lines.append(line), lambda: int("x"))
    made._read_again()
    assert (Level.error, "uspnet", "invalid literal for int() with base 10: 'x'") in lines
    assert [job.entry for job in made.jobs] == entries
    assert not made.jobs[0].is_ending


def test_one_that_does_not_end_is_killed(monkeypatch):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1e6)"
    monkeypatch.setattr(children.children, "uspnet", lambda *_: [sys.executable, "-c", code])
    made = job()
    made.start(time.monotonic())
    until(lambda: ignores(made.child.pid, signal.SIGTERM))
    now = time.monotonic()
    made.ask_to_end(signal.SIGTERM, now, within_s=5.0)
    assert not made.check(now + 4)
    made.check(now + 6)
    until(lambda: made.check(now + 6))
    assert (made.state, list(made.exit_codes)) == ("failed", [-9])


def ignores(pid, number):
    with open(f"/proc/{pid}/status") as file:
        mask = next(line.split()[1] for line in file if line.startswith("SigIgn:"))
    return int(mask, 16) >> (number - 1) & 1


def test_an_upgrade_is_too_short_to_be_stuck(monkeypatch):
    stuck = []
    monkeypatch.setattr("uspnet.jobs.supervise.supervised.is_stuck", lambda _pid: bool(stuck))
    made = job()
    made.state, made.child = "ready", SimpleNamespace(pid=0)
    found = []
    for now, is_now in ((1, 1), (2, 1), (3, 0), (4, 1), (6, 1), (7.5, 1), (8, 0), (9, 1)):
        stuck[:] = [True] * is_now
        found.append(made.is_stuck(now))
    assert found == [False] * 5 + [True] + [False] * 2


def test_states_of_threads():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    until(lambda: thread_states(process.pid) == {"S"})
    assert not is_stuck(process.pid)
    assert not is_stuck(os.getpid())
    assert process.pid in processes.children_of(os.getpid())
    process.send_signal(signal.SIGSTOP)
    until(lambda: thread_states(process.pid) == {"T"})
    assert is_stuck(process.pid)
    assert is_stuck(os.getpid())
    process.kill()
    until(lambda: thread_states(process.pid) == {"Z"})
    process.wait()
    assert thread_states(process.pid) == set()
    assert "R" in thread_states(os.getpid())
