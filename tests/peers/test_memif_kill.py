# SPDX-License-Identifier: Apache-2.0
"""The peer is killed, stopped or gone, under load: the job goes on, and so does the traffic.

Tier `all` kills a thousand times. `pytest -s` shows how long traffic took to flow again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time

import pytest

from tests.support.tiers import by_tier, full
from tests.support.waiting import until

ROUNDS = by_tier(5, 5, 1000)
FDS_MORE, KIB_MORE = 8, 32 << 10


def grows(job, name):
    """Until the counter moves on."""
    before = job.counter(name)
    until(lambda: job.counter(name) > before)


def has_socket(process):
    """It listens, or knocks."""
    folder = f"/proc/{process.pid}/fd"
    with contextlib.suppress(FileNotFoundError):  # it opens and closes others meanwhile
        return any(os.readlink(f"{folder}/{fd}").startswith("socket:") for fd in os.listdir(folder))


def recovery(job, name, peer):
    """Seconds from the peer's return to the next packet."""
    until(lambda: has_socket(peer))
    back = time.monotonic()
    until(lambda: job.counter(name))
    grows(job, name)
    return time.monotonic() - back


def tell(times):
    milliseconds = [round(1000 * each) for each in times]
    median, most = statistics.median(milliseconds), max(milliseconds)
    print(f"back {len(times)} times, after ms: median {median}, max {most}; {milliseconds}")


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("sends", [True, False])
@pytest.mark.parametrize("zero", ["on", *full("off")])
def test_a_peer_killed_again_and_again(uspnet, tmp_path, role, sends, zero):
    path = tmp_path / "m.sock"
    other = "client" if role == "server" else "server"
    ours = f"memif:{path},role={role},wait=forever,zero-copy={zero}"
    theirs = f"memif:{path},role={other},wait=forever,zero-copy={zero}"
    us, them = ("pktgen", "capture") if sends else ("capture", "pktgen")
    counter = "tx_packets" if sends else "rx_packets"
    job = uspnet(us, ours)
    first, times = None, []
    for _ in range(ROUNDS):
        peer = uspnet(them, theirs)
        times.append(recovery(job, counter, peer.process))
        first = first or (job.fds(), job.resident())
        peer.process.kill()
        peer.process.communicate()
    tell(times)
    assert job.process.poll() is None
    assert job.fds() <= first[0] + FDS_MORE
    assert job.resident() <= first[1] + KIB_MORE
    assert job.interrupt()["exit"] == 0


@pytest.mark.parametrize("role", ["server", "client"])
def test_testpmd_killed_again_and_again(testpmd, uspnet, tmp_path, role):
    path = tmp_path / "m.sock"
    other = "client" if role == "server" else "server"
    job = uspnet("pktgen", f"memif:{path},role={role},wait=forever")
    vdev = f"net_memif0,role={other},socket={path},socket-abstract=no"
    if role == "server":
        until(path.exists)
    first, times = None, []
    for _ in range(ROUNDS // 2):
        peer = testpmd(vdev)
        times.append(recovery(job, "tx_packets", peer.process))
        first = first or (job.fds(), job.resident())
        peer.kill()
        if role == "client":
            path.unlink(missing_ok=True)  # testpmd leaves it behind, and then refuses it
    tell(times)
    assert job.fds() <= first[0] + FDS_MORE
    assert job.resident() <= first[1] + KIB_MORE
    assert job.interrupt()["exit"] == 0


def test_a_peer_that_is_stopped_goes_on_where_it_was(uspnet, tmp_path):
    path = tmp_path / "m.sock"
    sink = uspnet("capture", f"memif:{path},role=server")
    until(path.exists)
    source = uspnet("pktgen", f"memif:{path}")
    until(lambda: sink.counter("rx_packets"))
    sink.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    sink.process.send_signal(signal.SIGCONT)
    grows(sink, "rx_packets")
    sent = source.interrupt()["sent"]
    until(lambda: sink.counter("rx_packets") == sent)
    assert sink.interrupt()["received"] == sent


@pytest.mark.parametrize("how", [["--no-reconnect"], []])
@pytest.mark.parametrize("role", ["server", "client"])
def test_without_reconnect_the_job_ends_with_its_peer(uspnet, tmp_path, role, how):
    path = tmp_path / "m.sock"
    other = "client" if role == "server" else "server"
    option = "" if how else ",reconnect=off"
    job = uspnet("pktgen", f"memif:{path},role={role},wait=forever{option}", *how)
    peer = uspnet("capture", f"memif:{path},role={other},wait=forever")
    until(lambda: peer.counter("rx_packets"))
    peer.process.kill()
    result = job.result()
    assert result["exit"] == 1
    assert result["error"] == "PeerFault"
    assert path.exists() == (role == "client")  # the dead server's path
