# SPDX-License-Identifier: Apache-2.0
"""A signal ends a run in good order, and a running job can be watched from outside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.support.identity import answer
from tests.support.waiting import moments, scaled, until
from uspnet.cli import again
from uspnet.cli.ending import ended_by_signals
from uspnet.cli.run import run
from uspnet.cli.views.live import Shown
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.ports.registry import make_port
from uspnet.telemetry import look

START_S = 60


def wait_for(process, there=True):
    """The job of a process as `uspnet stats` sees it, or None when it is gone."""
    for _ in moments(START_S, 0.02):
        found = next(iter(look(process.pid).jobs), None)
        if bool(found) is there:
            return found
    raise AssertionError(f"the job is {'not there' if there else 'still there'}")


def test_one_that_was_ignored_at_the_start_waits_while_signals_are_held():
    """As in a job that a script starts by `&`, while another version takes it over."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ended_by_signals(lambda _: None):
            again.hold_signals()
            signal.raise_signal(signal.SIGINT)
        assert signal.sigtimedwait([signal.SIGINT], 0)
    finally:
        again.let_signals()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_its_summary(start, number):
    process = start("pktgen", "null:", "--poll", "sleep", "--rate", "1000")
    wait_for(process)
    process.send_signal(number)
    out, errors = process.communicate(timeout=scaled(START_S))
    assert process.returncode == 0, errors
    assert out.startswith("sent ")


def test_children_are_waited_for_where_the_parent_ignores_them(start):
    ignoring = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
    run = f"{ignoring} os.execv(sys.argv[1], sys.argv[1:])"
    process = start(
        "pktgen", "null:", "-c", "9", through=f"exec {sys.executable} -c '{run}' \"$@\""
    )
    out, errors = process.communicate(timeout=scaled(START_S))
    assert (process.returncode, out[:6]) == (0, "sent 9"), errors


def test_one_that_another_thread_gets_waits_while_signals_are_held_back(monkeypatch):
    """As the thread that follows the kernel's routes, while another version is to go on."""
    ended, stopped, seen = threading.Event(), [], []
    thread = threading.Thread(target=ended.wait)

    def hand_over(job):
        signal.pthread_kill(thread.ident, signal.SIGTERM)
        until(lambda: signal.SIGTERM in signal.sigpending())
        seen.append(list(stopped))

    monkeypatch.setattr(ForwardJob, "hand_over", hand_over)
    monkeypatch.setattr(ForwardJob, "stop", lambda *_, **how: stopped.append(how))
    job = ForwardJob([make_port("null:"), make_port("null:")], Limits(count=9), Forwarding())
    thread.start()
    try:
        run(job, Shown(quiet=True))
    finally:
        ended.set()
        thread.join()
    assert seen == [[]]
    assert stopped == [{"hurry": True}], "it comes when somebody handles it again"


def test_a_hang_up_that_nohup_ignores_ends_nothing(start):
    ignore = "trap '' HUP; exec \"$@\""
    process = start("pktgen", "null:", "--poll", "sleep", "--rate", "1000", through=ignore)
    before = wait_for(process).ports[0].tx_packets
    process.send_signal(signal.SIGHUP)
    # It would have ended by then.
    until(lambda: wait_for(process).ports[0].tx_packets >= before + 500, START_S)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=scaled(START_S))
    assert process.returncode == 0, errors


def test_a_signal_under_json_ends_with_one_object(start):
    process = start("fwd", "null:", "null:", "--json")
    wait_for(process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=scaled(START_S))
    assert process.returncode == 0
    assert answer(out)["command"] == "fwd"


def test_a_waiting_memif_server_ends_and_takes_its_socket_with_it(start, tmp_path):
    path = tmp_path / "m.sock"
    process = start("capture", f"memif:{path},role=server")
    wait_for(process)
    assert path.exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(START_S) == 0
    assert not path.exists()


def test_stats_sees_a_running_job_and_forgets_a_killed_one(start, uspnet):
    process = start("pktgen", "null:", "--rate", "1000", "--poll", "sleep")
    wait_for(process)
    shown = answer(uspnet("stats", str(process.pid), "--json").stdout)
    (job,) = shown["jobs"]
    assert (job["pid"], job["job"]) == (process.pid, "pktgen")
    assert job["ports"][0]["port"] == "null:"
    assert uspnet("stats", "--once").stdout.count(f" {process.pid} ") == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait(START_S)
    wait_for(process, there=False)
    gone = uspnet("stats", str(process.pid))
    assert gone.returncode == 1


def test_ctrl_c_while_it_starts_ends_it_without_a_word():
    command = [sys.executable, "-X", "importtime", "-m", "uspnet", "pktgen", "null:"]
    told, says = os.pipe()
    fcntl.fcntl(says, fcntl.F_SETPIPE_SZ, 4096)  # it shall not run far ahead of what we read
    with (
        open(told) as lines,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=says) as process,
    ):
        os.close(says)
        while "uspnet.errors" not in lines.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(START_S)
        process.kill()
        errors = lines.read()
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" not in errors


def test_ctrl_c_ends_live_stats():
    script = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    command = [sys.executable, "-c", script, sys.executable, "-m", "uspnet", "stats"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        while "uspnet stats" not in process.stdout.readline():
            assert process.poll() is None
        process.stdin.write("\x03")
        process.stdin.flush()
        shown = process.stdout.read()
        assert process.wait(START_S) == 0
    assert "Traceback" not in shown
