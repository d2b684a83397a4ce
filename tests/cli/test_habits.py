# SPDX-License-Identifier: Apache-2.0
"""What people bring from other tools, and what protects them from their habits."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import pytest
import typer

from tests.support.identity import answer
from tests.support.waiting import scaled, until
from uspnet.cli import app, foreign
from uspnet.cli.command import INTERFACE
from uspnet.ports.registry import schemes
from uspnet.telemetry import look
from uspnet.text import did_you_mean

GROUP = typer.main.get_command(app)
PKTGEN = [sys.executable, "-m", "uspnet", "pktgen", "packet:a", "-c", "1"]


def parsed(command, *words):
    """The parameters and notes of a command line that is not run."""
    context = GROUP.commands[command].make_context(command, list(words))
    return context.params, context.meta


@pytest.mark.parametrize(
    "words", [("-i", "eth0"), ("-ieth0",), ("--interface", "eth0"), ("--interface=eth0",)]
)
@pytest.mark.parametrize("command", ["capture", "pktgen", "reflect"])
def test_an_interface_is_a_port(command, words):
    params, notes = parsed(command, *words, "-c", "5")
    assert (params["port"], params["count"]) == ("packet:eth0", 5)
    assert notes[INTERFACE] == "eth0"


def test_a_port_behind_i_stays_as_it_is():
    assert parsed("capture", "-i", "null:")[0]["port"] == "null:"


def test_the_value_of_another_option_is_no_habit():
    params, notes = parsed("pktgen", "null:", "--packet", "-i", "--src-ip", "--fail-on-loss")
    assert (params["packet"], params["src_ip"]) == (["-i"], "--fail-on-loss")
    assert INTERFACE not in notes


@pytest.mark.parametrize(
    ("word", "share"),
    [("--fail-on-loss", 0), ("--fail-on-loss=0.1%", 0.001), ("--fail-on-loss=5%", 0.05)],
)
@pytest.mark.parametrize("command", ["capture", "pktgen", "fwd", "attach", "reflect"])
def test_a_share_of_loss_may_be_left_out(command, word, share):
    assert parsed(command, word, "null:")[0]["fail_on_loss"] == pytest.approx(share)


def test_i_says_what_it_stands_for(uspnet):
    result = uspnet("capture", "-i", "none0", "-c", "1")
    assert result.returncode == 1
    said, *error = result.stderr.splitlines()
    assert said == "uspnet: -i none0 is the port packet:none0; there is no faster port for it"
    assert error[0] == "uspnet: there is no interface none0"
    assert uspnet("capture", "-i", "none0", "-q").stderr.startswith("uspnet: there is no interf")


WORDS = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")
PORT = re.compile(r"(?<![\w:])(?<!-[ab] )([a-z]+):[A-Z]+(?:,([a-z-]+)=)?")


@pytest.mark.parametrize(
    ("command", "option"),
    [(name, word) for name, table in foreign.ANSWERS.items() for word in table],
)
def test_answers_lead_to_what_there_is(command, option):
    text = foreign.answer(command, option)
    known = {name for each in GROUP.commands.values() for p in each.params for name in p.opts}
    ours = text.partition(", then: tshark")[0]
    assert set(WORDS.findall(ours)) - {"-i"} <= known
    assert option not in {name for p in GROUP.commands[command].params for name in p.opts}
    for scheme, name in PORT.findall(text):
        options = schemes()[scheme].options.known()
        assert scheme in schemes()
        assert not name or scheme == "pcap" or name in options


def test_values_of_other_tools_lead_to_ours():
    for option, answers in foreign.VALUES.items():
        (kind,) = (p.type_descriptor for p in GROUP.commands["read"].params if option in p.opts)
        for text in answers.values():
            assert text.rpartition("is -t ")[2] in kind.choices


def test_what_is_near_is_asked_for():
    assert did_you_mean("memf", schemes(), "{}:") == "did you mean memif:?"
    assert did_you_mean("x", schemes()) == ""


@pytest.mark.parametrize(
    ("port", "words"),
    [("memf:@x", "did you mean memif:?"), ("null:sice=60", "did you mean size=?")],
)
def test_a_port_that_is_near_is_asked_for(uspnet, port, words):
    assert words in uspnet("pktgen", port).stderr


LOSSY = ("fwd", "null:size=2000", "packet:a", "-c", "1000")  # longer than its MTU lets through


@pytest.mark.parametrize(
    ("words", "code"), [((), 0), (("--fail-on-loss",), 4), (("--fail-on-loss=100%",), 0)]
)
def test_loss_ends_fwd_where_it_is_asked_for(namespace, words, code):
    namespace.veth("a", "b")
    command = [sys.executable, "-m", "uspnet", *LOSSY, *words, "--json"]
    done = namespace.run(*command, check=False)
    assert done.returncode == code, done.stderr
    result = answer(done.stdout)
    assert result["drops"]["too_long"] > 0
    assert ("error" in result) is (code == 4)


@pytest.fixture
def routed(namespace):
    """A namespace whose default route leaves by the interface `a`."""
    namespace.veth("a", "b")
    namespace.ip("address", "add", "192.0.2.1/24", "dev", "a")
    namespace.ip("route", "add", "default", "via", "192.0.2.2")
    return namespace


@pytest.mark.full
def test_nothing_is_sent_to_the_default_route_unasked(routed):
    done = routed.run(*PKTGEN, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert done.stderr.startswith("uspnet: packet:a: a carries this machine's default route\n")
    assert "--yes" in done.stderr
    assert routed.run(*PKTGEN, "--yes").stdout.startswith("sent 1 ")
    other = [word.replace("packet:a", "packet:b") for word in PKTGEN]
    assert routed.run(*other).stdout.startswith("sent 1 ")


def test_an_alternative_name_and_another_next_hop_are_the_default_route_too(routed):
    routed.veth("other", "far")
    routed.ip("link", "property", "add", "dev", "other", "altname", "enp9s9")
    routed.ip("address", "add", "198.51.100.1/24", "dev", "other")
    hops = ("nexthop", "via", "192.0.2.2", "nexthop", "via", "198.51.100.2")
    routed.ip("route", "replace", "default", *hops)
    for name, through in (("other", ""), ("enp9s9", ", through other")):
        words = [word.replace("packet:a", f"packet:{name}") for word in PKTGEN]
        done = routed.run(*words, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 3
        assert f"{name} carries this machine's default route{through}\n" in done.stderr
    done = routed.run(*PKTGEN[:3], "capture", "xdp:enp9s9", "-c", "1", check=False)
    assert done.returncode == 3
    assert "other carries this machine's default route" in done.stderr


def test_an_interface_below_the_default_route_counts(routed):
    routed.ip("link", "add", "name", "br", "type", "bridge")
    routed.ip("link", "set", "dev", "br", "up")
    routed.ip("route", "flush", "table", "main")
    routed.ip("link", "set", "dev", "a", "master", "br")
    routed.ip("address", "add", "192.0.2.9/24", "dev", "br")
    routed.ip("route", "add", "default", "via", "192.0.2.2", "dev", "br")
    done = routed.run(*PKTGEN, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert "default route, through br" in done.stderr


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"n\n", 3), (b"\n", 3)])
def test_on_a_terminal_it_is_asked(routed, typed, code):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        routed.command(*PKTGEN), stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL
    )
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 4096)
    assert b"a carries this machine's default route. Send packets to it? [y/N]" in shown
    os.write(ours, typed)
    assert process.wait(60) == code
    os.close(ours)


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_run_without_an_end_says_so_where_nobody_watches(start, more):
    process = start("capture", "null:", *more)
    said = process.stderr.readline()
    assert said == (
        f"uspnet: no --duration and no --count: runs until stopped: kill {process.pid}\n"
    )
    until(lambda: look(process.pid).jobs)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=scaled(60))
    assert process.returncode == 0


@pytest.mark.parametrize("words", [("--quiet",), ("--duration", "0.1"), ("--count", "1")])
def test_a_run_with_an_end_says_nothing(start, words):
    process = start("capture", "null:", *words)
    if words == ("--quiet",):
        until(lambda: look(process.pid).jobs)
        process.send_signal(signal.SIGTERM)
    assert "no --duration" not in process.communicate(timeout=scaled(60))[1]


def test_a_file_has_an_end(uspnet, tmp_path):
    file = tmp_path / "f.pcapng"
    uspnet("capture", "null:", "-c", "3", "-w", str(file))
    assert uspnet("capture", f"pcap:{file}").stderr == ""


def test_pktgen_waits_for_a_client_no_longer_than_it_would_run(uspnet, tmp_path):
    port = f"memif:{tmp_path}/m,role=server"
    result = uspnet("pktgen", port, "--duration", "1")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{port}: no client on {tmp_path}/m yet: waited for all of the run" in result.stderr
    assert "start the other side first" in result.stderr


def test_a_choice_is_written_down_once():
    from uspnet.fastpath import lib
    from uspnet.jobs.choices import OnFull, Poll
    from uspnet.jobs.forward.job import WHEN_FULL
    from uspnet.jobs.worker import POLL_MODES
    from uspnet.ports.pcap.kinds import SNAPLEN_MAX, Format
    from uspnet.ports.pcap.sink import FORMATS

    assert set(POLL_MODES) == set(Poll)
    assert set(FORMATS) == set(Format)
    assert set(WHEN_FULL) == set(OnFull)
    assert SNAPLEN_MAX == lib.PCAP_LONGEST
