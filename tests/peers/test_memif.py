# SPDX-License-Identifier: Apache-2.0
"""uspnet on both sides of memif, and what people type wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiers import full
from tests.support.waiting import scaled, until


def pair(uspnet, path, client="", server="", count=200_000, send=(), receive=()):
    """pktgen into capture; the results of both."""
    sink = uspnet("capture", f"memif:{path},role=server{server}", "--count", count, *receive)
    source = uspnet("pktgen", f"memif:{path},wait=forever{client}", "--count", count, *send)
    return source.result(), sink.result()


@pytest.mark.parametrize("poll", ["busy", "adaptive", "sleep"])
@pytest.mark.parametrize("size", [60, *full(1514), 9000])
@pytest.mark.parametrize("zero", ["on", "off"])
def test_a_client_sends_to_a_server(uspnet, tmp_path, zero, size, poll):
    sent, got = pair(
        uspnet,
        tmp_path / "m",
        f",zero-copy={zero}",
        send=["--size", size],
        receive=["--poll", poll],
    )
    assert sent["sent"] == got["received"] == 200_000
    assert got["ports"][0]["rx_bytes"] == 200_000 * size
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(("server", "client"), [(4, 1), (1, 4), (3, 2)])
@pytest.mark.parametrize("sender", ["client", "server"])
def test_packets_for_queues_that_the_peer_has_not_leave_by_others(
    uspnet, tmp_path, server, client, sender
):
    path = tmp_path / "m"
    queues = {"client": client, "server": server}
    words = {
        "client": f"memif:{path},wait=9,queues={client}",
        "server": f"memif:{path},role=server,queues={server}",
    }
    sink, source = "server" if sender == "client" else "client", sender
    forward = ("fwd", f"null:,queues={queues[source]}", words[source], "--count", 20_000)
    jobs = {
        sink: lambda: uspnet("capture", words[sink], "--count", 20_000),
        source: lambda: uspnet(*forward, "--on-full", "wait"),
    }
    running = {role: jobs[role]() for role in ("server", "client")}
    sent, got = running[source].result(), running[sink].result()
    assert (sent["forwarded"], sent["dropped"]) == (20_000, 0)
    assert got["received"] == 20_000


@pytest.mark.parametrize("zero", ["on", "off"])
def test_a_server_sends_to_a_client(uspnet, tmp_path, zero):
    path = tmp_path / "m"
    source = uspnet("pktgen", f"memif:{path},role=server", "--count", 200_000)
    until(path.exists)
    sink = uspnet("capture", f"memif:{path},zero-copy={zero}", "--count", 200_000)
    assert sink.result()["received"] == source.result()["sent"] == 200_000


@pytest.mark.parametrize("poll", ["adaptive", "sleep"])
def test_a_sleeper_is_woken(uspnet, tmp_path, poll):
    path = tmp_path / "m"
    sink = uspnet("capture", f"memif:{path},role=server", "--count", 50, "--poll", poll)
    until(path.exists)
    source = uspnet("pktgen", f"memif:{path}", "--rate", "100", "--count", 50)
    assert source.result()["sent"] == 50
    assert sink.result()["received"] == 50


def test_queue_pairs_secrets_ids_and_an_abstract_socket(uspnet):
    name = f"@uspnet-test-{os.getpid()}"
    both = ",queues=2,id=9,secret=tell"
    sent, got = pair(uspnet, name, both, both, receive=["--cores", "0,1"])
    assert sent["sent"] == got["received"] == 200_000


def test_round_trip_through_fwd_and_back(uspnet, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    forward = uspnet("fwd", f"memif:{a},role=server", f"memif:{b},role=server", "--on-full", "wait")
    until(b.exists)
    result = uspnet(
        "pktgen", f"memif:{a}", "--rx-port", f"memif:{b}", "--rate", "100k", "--count", 50_000
    ).result()
    assert result["received"] == result["sent"] == 50_000
    assert result["duplicated"] == result["lost"] == 0
    assert forward.interrupt()["forwarded"] == 50_000


def test_two_clients_on_one_socket_in_one_process(uspnet, tmp_path):
    path = tmp_path / "m"
    forward = uspnet(
        "fwd",
        f"memif:{path},role=server,id=0",
        f"memif:{path},role=server,id=1",
        "--on-full",
        "wait",
    )
    until(path.exists)
    result = uspnet(
        "pktgen",
        f"memif:{path},id=0",
        "--rx-port",
        f"memif:{path},id=1",
        "--rate",
        "50k",
        "--count",
        20_000,
    ).result()
    assert result["received"] == 20_000
    forward.interrupt()


def test_server_and_client_in_one_process(uspnet, tmp_path):
    path = tmp_path / "m"
    result = uspnet(
        "pktgen",
        f"memif:{path},role=server",
        "--rx-port",
        f"memif:{path}",
        "--rate",
        "50k",
        "--count",
        20_000,
    ).result()
    assert result["received"] == 20_000


# -- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "code", "kind"),
    [
        ("memif:{}/none", 1, "DeviceTimeout"),
        ("memif:{}/no/folder,role=server", 1, "NoDevice"),
        ("memif:{}/file,role=server", 1, "Busy"),
        ("memif:{}/file", 1, "NotSupported"),
        ("memif:{}/stream", 1, "NotSupported"),
        ("memif:{}/none,ring=1000", 2, "Usage"),
        ("memif:{}/none,ring=32768", 2, "Usage"),
        ("memif:{}/none,role=both", 2, "Usage"),
        ("memif:{}/none,secret=1234567890123456789012345", 2, "Usage"),
        ("memif:", 2, "Usage"),
        ("memif:@", 2, "Usage"),
        ("memif:{}/" + "x" * 100, 2, "Usage"),
    ],
)
def test_what_is_wrong_is_said_with_a_hint(uspnet, tmp_path, spec, code, kind):
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind(str(tmp_path / "stream"))
        stream.listen()
        result = uspnet("pktgen", spec.format(tmp_path), "--count", 1).result()
    assert (result["exit"], result["error"]) == (code, kind)
    assert result["hint"]
    assert {path.name for path in tmp_path.iterdir()} == {"file", "stream"}


@pytest.mark.parametrize(
    ("option", "text"),
    [("id=5", "ID not found"), ("secret=no", "Incorrect secret"), ("secret=", "Secret required")],
)
def test_a_refusal_is_explained(uspnet, tmp_path, option, text):
    path = tmp_path / "m"
    uspnet("capture", f"memif:{path},role=server,secret=yes")
    until(path.exists)
    secret = "" if option.startswith("secret") else ",secret=yes"
    result = uspnet("pktgen", f"memif:{path},{option},wait=3{secret}").result()
    assert (result["exit"], result["error"]) == (1, "PeerFault")
    assert result["hint"]
    assert text in result["message"]


def test_a_path_in_use_is_refused_and_a_stale_one_replaced(uspnet, tmp_path):
    path = tmp_path / "m"
    first = uspnet("capture", f"memif:{path},role=server")
    until(path.exists)
    second = uspnet("capture", f"memif:{path},role=server").result()
    assert (second["exit"], second["error"]) == (1, "Busy")
    first.process.kill()
    first.process.wait()
    assert path.exists()
    sent, got = pair(uspnet, path, count=1000)
    assert sent["sent"] == got["received"] == 1000


def test_somebody_elses_socket_is_left_alone(uspnet, tmp_path):
    path = tmp_path / "m"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        other.listen()
        result = uspnet("capture", f"memif:{path},role=server").result()
    assert (result["exit"], result["error"]) == (1, "Busy")
    assert path.exists()


def catches(pid, number):
    """Has the process a handler for this signal yet?"""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return caught >> (number - 1) & 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("role", ["server", "client,wait=forever"])
@pytest.mark.parametrize("command", ["pktgen", "capture"])
def test_a_signal_ends_the_wait_for_a_peer(uspnet, tmp_path, command, role, number):
    path = tmp_path / "m"
    job = uspnet(command, f"memif:{path},role={role}")
    until(lambda: catches(job.pid, signal.SIGTERM))
    if "server" in role:
        until(path.exists)
    assert job.interrupt(number)["exit"] == 0
    assert not path.exists()


CROWD = """
import os, sys
from uspnet.errors import Busy
from uspnet.ports.memif.listener import Listener

def child(gate, held):
    os.close(held[1])  # the test's end is ours, too
    os.read(gate, 1)
    try:
        listener = Listener(sys.argv[1])
    except Busy:
        os._exit(1)
    os.read(held[0], 1)
    os._exit(0)

for _ in range(40):
    gate, held = os.pipe(), os.pipe()
    children = []
    for _ in range(4):
        children.append(os.fork() or child(gate[0], held))
    os.write(gate[1], b"x" * 4)
    losers = [os.wait()[1] for _ in range(3)]
    os.write(held[1], b"x")
    assert all(losers) and os.wait()[1] == 0, losers
    assert os.path.exists(sys.argv[1])  # the winner left it behind: stale for the next crowd
"""


def test_of_many_that_want_a_path_at_once_one_gets_it(tmp_path):
    command = [sys.executable, "-c", CROWD, str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=False)
    assert done.returncode == 0, done.stderr
