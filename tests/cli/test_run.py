# SPDX-License-Identifier: Apache-2.0
"""`uspnet run`: jobs start, are watched and started again, and end; nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.processes import alive, children_of
from tests.support.terminal import Terminal
from tests.support.tiers import full
from tests.support.waiting import scaled, until
from uspnet.cli.views.jobs import HOW_TO_STOP

SLOW = {"rate": "1000", "poll": "sleep"}  # packets a second: a job that runs on, and takes no CPU
IDLE = {"pktgen": "null:", **SLOW}
BAD = {"fwd": ["null:", "packet:none0"]}  # fails when it opens its ports
LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ (DEBUG|INFO|WARNING|ERROR) [\w-]+: \S")


def outcomes(text):
    return {job["job"]: job for job in answer(text)["jobs"]}


def test_two_jobs_are_connected(supervise, tmp_path):
    path = str(tmp_path / "a.sock")
    jobs = {
        "sender": {"pktgen": f"memif:{path}", "count": "5k", "after": ["edge"], "linger": "100ms"},
        "edge": {"capture": f"memif:{path},role=server", "write": "x.pcapng", "count": 5000},
    }
    found = outcomes(supervise(jobs, "--json").ends())
    assert [job["state"] for job in found.values()] == ["done", "done"]
    assert found["sender"]["result"]["sent"] == found["edge"]["result"]["written"] == 5000
    assert [job["exit_codes"] for job in found.values()] == [[0], [0]]
    assert (tmp_path / "x.pcapng").exists(), "relative to the current folder"


def test_the_log_has_a_level_a_job_and_a_text(supervise):
    started = supervise({"a": {"pktgen": "null:", "count": 8}, "b": {**BAD}})
    started.ends(1)
    lines = started.lines()
    assert all(LINE.match(line) for line in lines[:-2]), lines
    assert any("INFO a: sent 8 of 8 packets" in line for line in lines)
    assert any("ERROR b: ended: NoDevice: " in line and "hint: " in line for line in lines)
    assert lines[-2].startswith("uspnet: 1 of 2 jobs failed: b: NoDevice: ")


def test_a_failed_job_is_named_under_json(supervise):
    out = supervise({"a": {**IDLE, "count": 8}, "b": BAD}, "--json", "--log-level", "error").ends(1)
    found = answer(out)
    assert found["message"].startswith("1 of 2 jobs failed: b: NoDevice")
    assert outcomes(out)["b"]["result"]["error"] == "NoDevice"
    assert (outcomes(out)["a"]["state"], outcomes(out)["b"]["exit_codes"]) == ("done", [1])


@pytest.mark.full
def test_a_killed_job_starts_again(supervise):
    started = supervise({"a": {**IDLE, "restart": "on-failure", "restart-delay": "10ms"}}, "--json")
    started.logs("a: ready")
    os.kill(started.pid("a"), signal.SIGKILL)
    text = started.logs("WARNING a: ended: ")
    assert "killed by SIGKILL (" in text
    assert text.endswith("); starts again in 0.01 s")
    started.logs("a: ready", 2)
    assert alive(started.pid("a", 2))
    (job,) = outcomes(started.end()).values()
    assert (job["restarts"], job["exit_codes"], job["state"]) == (1, [-9, 0], "done")


@pytest.mark.full
def test_a_job_that_always_starts_again(supervise):
    always = {"pktgen": "null:", "count": 8, "restart": "always", "restart-delay": "10ms"}
    started = supervise({"a": {**always, "restart-limit": "2 in 1h"}}, "--json")
    (job,) = outcomes(started.ends(1)).values()
    assert (job["restarts"], job["exit_codes"], job["state"]) == (2, [0, 0, 0], "failed")
    assert "was started again 2 times in 3600 s: no more" in started.logs("ERROR a: ended: ")


@pytest.mark.full
def test_the_limit_of_restarts_ends_a_job_and_no_other(supervise):
    bad = {**BAD, "restart": "on-failure", "restart-delay": "10ms", "restart-limit": "2 in 1h"}
    started = supervise({"a": bad, "b": IDLE, "c": {**IDLE, "after": "a"}}, "--json")
    assert "starts again in 0.02 s" in started.logs("starts again", 2)
    started.logs("ERROR a: ended")
    assert "not started: a failed" in started.logs("ERROR c: ")
    started.logs("b: ready")
    found = outcomes(started.end(code=1))
    assert [job["state"] for job in found.values()] == ["failed", "done", "failed"]
    assert (found["a"]["restarts"], found["c"]["exit_codes"]) == (2, [])


@pytest.mark.parametrize("number", [signal.SIGINT, *full(signal.SIGTERM)])
def test_jobs_end_in_reverse_order_with_their_summaries(supervise, number):
    started = supervise({"a": IDLE, "b": {**IDLE, "after": "a"}, "c": {**IDLE, "after": "b"}})
    started.logs("c: ready")
    assert started.end(number) == ""
    order = [line.split()[2] for line in started.lines() if "ended: done" in line]
    assert order == ["c:", "b:", "a:"]
    assert len([line for line in started.lines() if ": sent " in line]) == 3


@pytest.mark.full
def test_a_second_signal_ends_all_at_once(supervise):
    started = supervise({"a": IDLE, "b": IDLE}, "--json")
    started.logs("ready", 2)
    last = max(started.pid("a"), started.pid("b"))
    first = min(started.pid("a"), started.pid("b"))
    os.kill(last, signal.SIGSTOP)  # it is asked first, and does not answer
    started.process.send_signal(signal.SIGTERM)
    started.logs("ending 2 jobs")
    found = outcomes(started.end(signal.SIGTERM))
    assert {job["state"] for job in found.values()} == {"done"}
    assert not alive(first)


def test_one_that_waits_for_a_peer_ends(supervise, tmp_path):
    path = str(tmp_path / "s.sock")
    started = supervise({"a": {"capture": f"memif:{path},role=server"}}, "--log-level", "debug")
    started.logs("a: ready")
    pid = started.pid("a")
    started.process.send_signal(signal.SIGINT)
    started.logs("sent SIGINT")
    started.ends()
    assert not alive(pid)


def test_when_it_is_killed_nothing_stays(supervise):
    started = supervise({"a": IDLE, "b": IDLE})
    started.logs("ready", 2)
    pids = [started.pid("a"), started.pid("b")]
    assert set(pids) <= set(children_of(started.process.pid))
    pids += [child for pid in pids for child in children_of(pid)]  # which run the loops
    started.process.kill()
    started.process.wait()
    until(lambda: not any(map(alive, pids)))


@pytest.mark.full
def test_children_are_isolated(supervise, tmp_path):
    again = {**IDLE, "restart": "on-failure", "restart-delay": "10ms"}
    started = supervise({"a": again}, variables={"PYTHONPATH": str(tmp_path), "X": "secret"})
    started.logs("a: ready")
    (tmp_path / "uspnet.py").write_text("raise SystemExit('not ours')")
    os.kill(started.pid("a"), signal.SIGKILL)
    started.logs("a: ready", 2)
    variables = Path(f"/proc/{started.pid('a', 2)}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" not in variables
    assert b"secret" not in variables
    started.end()


@pytest.mark.full
def test_reports_of_a_job_are_logged(supervise):
    started = supervise({"a": {**IDLE, "interval": "100ms"}})
    started.logs("INFO a: sent ", 3)
    started.end()


@pytest.mark.parametrize("width", [60, *full(120)])
def test_on_a_terminal_a_table_stands_below_the_log(tmp_path, width):
    path = tmp_path / "jobs.yaml"
    bad = {**BAD, "restart": "on-failure", "restart-delay": "1h"}
    path.write_text(json.dumps({"jobs": {"a": IDLE, "b": bad}}))
    with Terminal("run", str(path), width=width) as terminal:
        terminal.read_until("restarting")
        terminal.read_until("ready")
        terminal.read_until(HOW_TO_STOP)
        terminal.press(b"\x03")
        terminal.read_until(None)
        text = "\n".join(terminal.lines())
        assert HOW_TO_STOP not in text
        assert "1 of 2 jobs failed: b: NoDevice" in " ".join(text.split())


@pytest.mark.full
def test_a_terminal_that_is_closed_ends_the_jobs(tmp_path):
    path = tmp_path / "jobs.yaml"
    path.write_text(json.dumps({"jobs": {"a": IDLE}}))
    with Terminal("run", str(path)) as terminal:
        terminal.read_until(" ready ")
        (pid,) = children_of(terminal.process.pid)
        terminal.process.send_signal(signal.SIGHUP)
        terminal.read_until("read the file again")
        assert alive(pid)
        os.close(terminal.master)
        terminal.master = os.open(os.devnull, os.O_RDWR)
        assert terminal.process.wait(timeout=scaled(60)) == 0
    assert not alive(pid)


# -- SIGHUP ------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_file_that_is_read_again(supervise):
    same, old, gone = IDLE, {**IDLE, "size": 60}, IDLE
    started = supervise({"same": same, "old": old, "gone": gone}, "--json")
    started.logs("ready", 3)
    started.tells("READY=1")
    kept, left = started.pid("same"), started.pid("gone")
    started.write({"new": {**IDLE, "after": "old"}, "old": {**IDLE, "size": 90}, "same": same})
    started.process.send_signal(signal.SIGHUP)
    assert "1 new, 1 changed, 1 removed" in started.logs("SIGHUP: read the file again")
    started.logs("new: ready")
    until(lambda: not alive(left))
    assert alive(kept)
    started.tells("RELOADING=1")
    started.tells("READY=1", 2)
    found = outcomes(started.end())
    assert list(found) == ["new", "old", "same"]
    assert {name: job["restarts"] for name, job in found.items()} == {"new": 0, "old": 1, "same": 0}
    assert found["old"]["result"]["ports"][0]["tx_bytes"] % 90 == 0


@pytest.mark.parametrize("text", ["jobs: {", "jobs:\n  a: {pktgen: 'nul:'}\n", None])
def test_a_wrong_file_changes_nothing(supervise, text):
    started = supervise({"a": IDLE}, "--json")
    started.tells("READY=1")
    pid = started.pid("a")
    started.write(text) if text else started.file.unlink()
    started.process.send_signal(signal.SIGHUP)
    started.logs("SIGHUP: the file is wrong; all jobs go on as they were")
    assert "ERROR uspnet: " in started.logs("jobs.yaml")
    started.tells("READY=1", 2)
    assert alive(pid)
    assert started.process.poll() is None
    (job,) = outcomes(started.end()).values()
    assert job["exit_codes"] == [0]


@pytest.mark.full
def test_a_failed_job_begins_anew_with_another_entry(supervise):
    started = supervise({"a": BAD, "b": IDLE}, "--json")
    started.logs("ERROR a: ended")
    started.logs("b: ready")
    started.write({"a": IDLE, "b": IDLE})
    started.process.send_signal(signal.SIGHUP)
    started.logs("a: ready")
    (a, _) = outcomes(started.end()).values()
    assert (a["state"], a["exit_codes"]) == ("done", [1, 0])


# -- the service manager -----------------------------------------------------------------------


def test_it_is_a_service(supervise):
    started = supervise({"a": IDLE, "b": {**IDLE, "after": "a"}})
    started.tells("READY=1")
    assert "STATUS=1 of 2 jobs ready; starting: b" in started.told
    started.tells("STATUS=2 of 2 jobs ready")
    started.tells("WATCHDOG=1", 5)
    os.kill(started.pid("a"), signal.SIGSTOP)
    started.logs("WARNING a: a thread has stopped; the watchdog is not fed")
    os.kill(started.pid("a"), signal.SIGCONT)
    started.tells("WATCHDOG=1", started.told.count("WATCHDOG=1") + 2)
    started.end()
    started.tells("STOPPING=1")
    assert started.told.count("READY=1") == 1


def test_in_the_journal_lines_have_a_priority_and_no_time(supervise, tmp_path):
    def stream(path):
        status = path.stat()
        return f"{status.st_dev}:{status.st_ino}"

    (tmp_path / "log").touch()
    started = supervise({"a": BAD}, variables={"JOURNAL_STREAM": stream(tmp_path / "log")})
    started.ends(1)
    kinds = [line.split(":")[0] for line in started.lines()[:-2]]
    assert kinds[0] == "<6>INFO a"
    assert kinds[-1] == "<3>ERROR a"
    assert {kind[0] for kind in kinds} == {"<"}


# -- files -------------------------------------------------------------------------------------


def test_a_file_is_checked_and_nothing_starts(uspnet, tmp_path):
    path = tmp_path / "jobs.yaml"
    path.write_text(f"jobs:\n  a: {{capture: 'null:', write: {tmp_path}/x.pcapng}}\n")
    result = uspnet("run", str(path), "--check")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{path}: 1 job, nothing is wrong: a\n"
    found = answer(uspnet("run", str(path), "--check", "--json").stdout)
    assert found["jobs"] == ["a"]
    assert [each.name for each in tmp_path.iterdir()] == ["jobs.yaml"]


def test_a_wrong_file_starts_nothing(uspnet, tmp_path):
    path = tmp_path / "jobs.yaml"
    good = f"  a: {{capture: 'null:', write: {tmp_path}/x.pcapng}}\n"
    path.write_text(f"jobs:\n{good}  b: {{fwd: ['null:', 'null:'], mod: io}}\n")
    result = uspnet("run", str(path))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (f"uspnet: {path}:3: b: fwd has no 'mod'\n  hint: did you mean mode?\n")
    assert [each.name for each in tmp_path.iterdir()] == ["jobs.yaml"]
    error = answer(uspnet("run", str(path), "--json").stdout)
    assert (error["error"], error["hint"]) == ("Usage", "did you mean mode?")


def test_a_file_from_stdin(start):
    text = "jobs: {a: {pktgen: 'null:', count: 8}}"
    process = start("run", "-", "--json", through=f'echo "{text}" | exec "$@"')
    out, errors = process.communicate(timeout=scaled(60))
    assert process.returncode == 0, errors
    assert outcomes(out)["a"]["result"]["sent"] == 8


def test_secrets_are_not_told(supervise, tmp_path):
    secret = f"memif:{tmp_path}/a.sock,role=server,secret=hunter2"
    started = supervise({"a": {"fwd": [secret, "null:"]}}, "--json", "--log-level", "debug")
    started.logs("a: ready")
    assert b"hunter2" not in Path(f"/proc/{started.pid('a')}/cmdline").read_bytes()
    assert "hunter2" not in started.end()
    assert "hunter2" not in started.log.read_text()
