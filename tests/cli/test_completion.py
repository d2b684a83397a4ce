# SPDX-License-Identifier: Apache-2.0
"""Completion: what the words may become, and the three shells that ask for it."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.waiting import until
from uspnet.cli import app
from uspnet.cli.completion import VARIABLE
from uspnet.cli.completion.words import completions
from uspnet.jobs.forward.mode import modes
from uspnet.ports.qemu import models
from uspnet.ports.registry import schemes
from uspnet.telemetry import look

WORDS = [
    # words, of which the last is completed; all that it may become
    (["pktg"], ["pktgen"]),
    (["--vers"], ["--version"]),
    (["nothing", ""], []),
    (["pktgen", "mem"], ["memif:"]),
    (["pktgen", "qemu:"], [f"qemu:{name}" for name in sorted(models())]),
    (["pktgen", "qemu:igb,rx-c"], ["qemu:igb,rx-checksum="]),
    (["pktgen", "qemu:igb,loop="], ["qemu:igb,loop=on", "qemu:igb,loop=off"]),
    (["pktgen", "null:size=60,qu"], ["null:size=60,queues="]),
    (["pktgen", "memif:@x,role="], ["memif:@x,role=client", "memif:@x,role=server"]),
    (["pktgen", "memif:@x,role=client,rol"], []),
    (["pktgen", "null:", "--rx-p"], ["--rx-port"]),
    (["pktgen", "null:", "--rx-port", "mem"], ["memif:"]),
    (["pktgen", "--rx-port=mem"], ["--rx-port=memif:"]),
    (["pktgen", "--size", "60", "nul"], ["null:"]),
    (["pktgen", "null:", "nul"], []),
    (["fwd", "null:", "nul"], ["null:"]),
    (["fwd", "--mode", ""], sorted(modes())),
    (["fwd", "null:", "--poll", "b"], ["busy"]),
    (["fwd", "--", "--po"], []),
    (["regs", "qemu:igb", "ctrl_"], ["CTRL_EXT"]),
    (["capture", "packet:l"], ["packet:lo"]),
]


@pytest.mark.parametrize(("words", "expected"), WORDS)
def test_what_a_word_may_become(words, expected):
    assert completions(app, words) == expected


def test_without_a_word_there_are_commands_and_all_schemes():
    assert {"bind", "pktgen", "stats"} <= set(completions(app, [""]))
    assert {f"{name}:" for name in schemes()} <= set(completions(app, ["capture", ""]))


def test_interfaces_are_those_of_the_machine():
    names = {f"packet:{name}" for _, name in socket.if_nameindex()}
    assert set(completions(app, ["capture", "packet:"])) == names


def test_files_are_completed_behind_their_scheme(tmp_path):
    (tmp_path / "a,b.pcap").touch()
    (tmp_path / "folder").mkdir()
    found = completions(app, ["capture", f"pcap:{tmp_path}/"])
    assert found == [f"pcap:{tmp_path}/a\\,b.pcap", f"pcap:{tmp_path}/folder/"]


def test_jobs_are_completed(start):
    process = start("pktgen", "null:", "--rate", "1000", "--poll", "sleep")
    until(lambda: look(process.pid).jobs)
    assert str(process.pid) in completions(app, ["stats", ""])
    process.send_signal(signal.SIGTERM)
    process.communicate()


WRAPPER = """#!/bin/sh
[ -z "${VARIABLE}" ] || exec {python} -m uspnet "$@"
printf '%s\\n' "$@" >{folder}/words.new && mv {folder}/words.new {folder}/words
"""
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
BEFORE = {"zsh": "autoload -Uz compinit; compinit -u -d {folder}/dump; "}
TYPED = [
    ("uspnet pktg\tnul\tsiz\t60", ["pktgen", "null:size=60"]),
    ("uspnet capture memi\t@x,rol\tser\t", ["capture", "memif:@x,role=server"]),
    (
        "uspnet fwd --mod\tmacs\tqemu:vmx\tnul\t",
        ["fwd", "--mode", "macswap", "qemu:vmxnet3", "null:"],
    ),
]


@pytest.fixture(params=SHELLS)
def shell(request, needs, tmp_path):
    """An interactive shell in a terminal, which has read its script; type into it, and read what
    `uspnet` was given.
    """
    name = request.param
    needs(name)
    script, wrapper = tmp_path / "script", tmp_path / "bin" / "uspnet"
    wrapper.parent.mkdir()
    wrapper.write_text(WRAPPER.format(python=sys.executable, folder=tmp_path, VARIABLE=VARIABLE))
    wrapper.chmod(0o755)
    shown = [sys.executable, "-m", "uspnet", "--show-completion", name]
    script.write_bytes(subprocess.run(shown, stdout=subprocess.PIPE, check=True).stdout)
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PATH": f"{wrapper.parent}:{os.environ['PATH']}", "TERM": "xterm"}
    environment |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    process = subprocess.Popen(
        SHELLS[name],
        env=environment,
        cwd=tmp_path,
        preexec_fn=lambda: os.login_tty(theirs),  # noqa: PLW1509 - no other thread runs here
    )
    os.close(theirs)
    os.set_blocking(ours, False)

    def type_in(line):
        os.write(ours, line.encode())

    def given():
        drain(ours)
        path = tmp_path / "words"
        return path.read_text().splitlines() if path.exists() else None

    type_in(BEFORE.get(name, "").format(folder=tmp_path) + f". {script}; uspnet ready\n")
    until(lambda: given() == ["ready"])
    yield type_in, given
    process.kill()
    process.wait()
    os.close(ours)


def drain(terminal):
    """What the shell shows is read, so that it goes on."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


@pytest.mark.parametrize(("typed", "words"), TYPED)
def test_a_shell_completes(shell, typed, words):
    type_in, given = shell
    type_in(typed + "\n")
    until(lambda: given() != ["ready"])
    assert given() == words


@pytest.mark.parametrize("name", SHELLS)
def test_completion_is_installed_where_the_shell_looks(tmp_path, name, monkeypatch):
    from uspnet.cli.completion import scripts

    monkeypatch.setenv("HOME", str(tmp_path))
    first, _ = scripts.install(scripts.Shell(name))
    path = first.removeprefix("wrote ")
    assert path.startswith(str(tmp_path))
    with open(path) as file:
        assert file.read() == scripts.script(scripts.Shell(name))
    if shutil.which(name):
        subprocess.run([name, "-n", path], check=True)
