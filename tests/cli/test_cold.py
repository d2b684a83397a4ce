# SPDX-License-Identifier: Apache-2.0
"""`uspnet upgrade --cold`: a job's process goes on as another version of the program."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.captures import counted
from tests.support.cold import NEWER, SLOW, lives, total, upgrade, upgraded
from tests.support.identity import answer
from tests.support.paths import ROOT
from tests.support.processes import Running, children_of
from tests.support.terminal import Terminal
from tests.support.tiers import everything
from tests.support.upgrading import Installation, command
from tests.support.waiting import scaled, until
from uspnet import __version__
from uspnet.fastpath import lib

pytestmark = pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer: all on the heap")


def held_by(pid):
    """What the descriptors of a process are, but for the numbers of sockets and pipes."""
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
    return sorted(link.partition(":[")[0] for link in links)


@pytest.mark.full
def test_the_same_process_goes_on_as_another_version(job, newer):
    pid = job.process.pid
    before = held_by(pid)
    assert upgraded(job, "--with", newer.place)["after"] == NEWER
    assert str(newer.python) in Path(f"/proc/{pid}/cmdline").read_text()
    assert upgraded(job)["before"] == NEWER
    assert upgraded(job, "--with", newer.script())["after"] == NEWER
    once = job.count("tx_packets")
    until(lambda: job.count("tx_packets") > once)
    extra = len(held_by(pid)) - len(before)
    assert extra <= 1, "the fork server has a pidfd instead of a Popen"
    assert len(children_of(pid)) == 2
    assert upgrade(pid)[0] == 0, "warm, too"
    result = job.end()
    assert result["upgrades"] == 4
    assert [each["uspnet"] for each in lives(result)] == [__version__, NEWER, NEWER, NEWER]
    assert [each["upgrades"] for each in result["before"]] == [0, 1, 2]
    assert all(each["received"] for each in lives(result))


def test_the_other_version_is_asked_once(job, tmp_path):
    asked = tmp_path / "asked"
    begins = "    from uspnet.process.protocol import receive, send\n"
    note = f'    with open({str(asked)!r}, "a") as file:\n        file.write("x")\n'
    other = Installation(tmp_path / "other").fill({"cli/again.py": (begins, begins + note)})
    upgraded(job, "--with", other.place)
    assert asked.read_text() == "x"


@pytest.mark.parametrize("kind", ["foreign", *everything("incompatible")])
@pytest.mark.full
def test_versions_that_no_loop_can_be_taken_from(job, kind, request):
    other = request.getfixturevalue(kind)
    code, _, err = upgrade(job.process.pid, "--with", other.place)
    assert code == 1
    assert f"{__version__} → {NEWER}, cold: the job stops for about" in err
    assert "add --cold" in err
    assert upgraded(job, "--with", other.place)["after"] == NEWER
    assert job.end()["upgrades"] == 1


@pytest.mark.full
def test_on_a_terminal_one_is_asked(job, foreign):
    words = ["upgrade", str(job.process.pid), "--with", str(foreign.place)]
    for answered, code in ((b"n\n", 1), (b"y\n", 0)):
        with Terminal(*words, width=400) as terminal:
            terminal.read_until("Go on? [y/N]")
            terminal.press(answered)
            terminal.read_until(None)
            assert terminal.process.wait(scaled(60)) == code
    assert job.end()["upgrades"] == 1


@pytest.mark.full
def test_loops_in_the_jobs_own_process(started, newer):
    job = started("fwd", "null:", "null:", "--in-process").wait()
    assert upgraded(job, "--with", newer.place)["after"] == NEWER
    assert job.end()["sandbox"] is None


def test_a_tap_interface_stays(namespace, newer):
    words = ["fwd", "tap:t0,ip=10.9.0.1/24", "null:", "--json"]
    namespace.started.append(job := Running(namespace.command(*command(*words))))
    until(job.ports)
    namespace.ip("address", "add", "10.9.1.1/24", "dev", "t0")
    before, addresses = namespace.link("t0"), namespace.addresses("t0")
    upgraded(job, "--with", newer.place, enter=namespace.command())
    after = namespace.link("t0")
    assert (after["ifindex"], after["address"]) == (before["ifindex"], before["address"])
    assert namespace.addresses("t0") == addresses
    assert job.end()["before"][0]["ports"][0]["port"] == "tap:t0,ip=10.9.0.1/24"


@pytest.mark.full
def test_a_memif_servers_path_stays_and_its_client_comes_back(started, newer, tmp_path):
    path = tmp_path / "m.sock"
    server = started("capture", f"memif:{path},role=server").wait()
    client = started("pktgen", f"memif:{path}", "--rate", "1kpps").wait()
    until(lambda: server.count("rx_packets"))
    inode = path.stat().st_ino
    upgraded(server, "--with", newer.place)
    until(lambda: server.count("rx_packets"))
    assert path.stat().st_ino == inode
    assert upgrade(client.process.pid, "--cold", "--with", newer.place)[0] == 0
    before = server.count("rx_packets")
    until(lambda: server.count("rx_packets") > before)
    sent, received = client.end(), server.end()
    assert not path.exists()
    assert total(received, "received") <= total(sent, "sent")
    assert sent["before"][0]["sent"] > 0


@pytest.mark.skipif(not shutil.which("capinfos"), reason="needs capinfos: apt-get install tshark")
@pytest.mark.parametrize("kind", ["pcapng", *everything("nsecpcap", "zstd", "stdout")])
def test_a_capture_goes_on_in_its_file(newer, tmp_path, kind):
    """Wireshark's own tool finds every packet of all lives, and nothing wrong."""
    place, path = f"@uspnet-cold-file-{os.getpid()}", tmp_path / "x"
    how = {"nsecpcap": ["-F", "nsecpcap"], "zstd": ["--compress", "zstd"]}.get(kind, [])
    words = ["capture", f"memif:{place},role=server", "-w", "-" if kind == "stdout" else path]
    with (
        path.open("wb") as stdout,
        subprocess.Popen(
            command(*map(str, words), *how, "--quiet"), stdout=stdout, cwd=ROOT
        ) as process,
    ):
        job = Running.__new__(Running)
        job.process = process
        until(job.ports)
        for lives in range(2):
            if lives:
                upgraded(job, "--with", newer.place)
            send = ["pktgen", f"memif:{place}", "--sequence", "--count", "500", "--json"]
            subprocess.run(command(*send), cwd=ROOT, check=True, capture_output=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(scaled(60)) == 0
    assert counted(path) == 1000


@pytest.mark.full
def test_a_job_that_waits_for_its_peer(started, newer):
    place = f"@uspnet-cold-waits-{os.getpid()}"
    job = started("pktgen", f"memif:{place},role=server", "--rate", "1kpps")
    job.hears("waiting: ")
    assert upgraded(job, "--with", newer.place, waits=True)["after"] == NEWER
    job.hears(f"upgraded, cold: uspnet {__version__} → {NEWER}, it waits for its peer")
    code, out, err = upgrade(job.process.pid, "--cold")
    assert code == 0, err
    assert "cold; it waits for its peer, no loop ran yet" in out
    client = started("capture", f"memif:{place}").wait()
    until(lambda: client.count("rx_packets"))
    assert job.end()["upgrades"] == 2


@pytest.mark.full
def test_a_peer_that_leaves_meanwhile(started, tmp_path):
    slow = Installation(tmp_path / "slow").fill(SLOW)
    place = f"@uspnet-cold-leaves-{os.getpid()}"
    job = started("pktgen", f"memif:{place},role=server", "--rate", "1kpps")
    peer = started("capture", f"memif:{place}").wait()
    until(lambda: peer.count("rx_packets"))
    words = [sys.executable, "-m", "uspnet", "upgrade", str(job.process.pid), "--cold", "--json"]
    with subprocess.Popen(
        [*words, "--with", slow.place], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        cmdline = Path(f"/proc/{job.process.pid}/cmdline")
        until(lambda: str(slow.place) in cmdline.read_text())
        peer.process.kill()
        out = process.communicate(timeout=scaled(60))[0]
    assert process.returncode == 0, out
    assert answer(out)["gap_us"] is None
    assert job.end()["before"][0]["sent"] > 0


@pytest.mark.full
def test_sums_add_up_between_kernel_interfaces(namespace, newer):
    """The sockets are held: the process could not open others, it has no capability."""
    namespace.veth("a", "b")
    words = ["pktgen", "packet:a", "--rx-port", "packet:b", "--rate", "2kpps", "--json"]
    namespace.started.append(job := Running(namespace.command(*command(*words))))
    job.wait()
    for _ in range(2):
        until(lambda: job.count("rx_packets"))
        upgraded(job, "--with", newer.place, enter=namespace.command())
    until(lambda: job.count("rx_packets"))
    result = job.end()
    assert len(result["before"]) == 2
    for each in lives(result):
        assert each["sent"] == each["received"] > 0
        assert [each[name] for name in ("lost", "duplicated", "reordered", "dropped")] == [0] * 4


@pytest.mark.full
def test_ports_that_are_written_the_same_keep_what_each_of_them_held(namespace):
    """Each socket has its own port's filter; and no others could be opened."""
    namespace.veth("a", "b")
    words = ["capture", "packet:b,filter=udp port 9", "packet:b,filter=arp", "--json"]
    namespace.started.append(job := Running(namespace.command(*command(*words))))
    job.wait()
    upgraded(job, enter=namespace.command())
    send = ["pktgen", "packet:a", "--count", "100", "--rate", "5kpps", "--quiet"]
    code, out, err = Running(namespace.command(*command(*send))).ends()
    assert code == 0, out + err
    until(lambda: job.count("rx_packets") >= 100)
    rows = job.end()["ports"]
    assert [row["rx_packets"] >= 100 for row in rows[:2]] == [True, False]


@pytest.mark.full
@pytest.mark.parametrize("mode", ["auto", *everything("generic")])
def test_xdp_goes_on_with_its_program_and_other_sockets(namespace, needs, newer, mode):
    """Kernel sockets at both ends see every numbered packet, after each upgrade. A queue that came
    in between is used, too.
    """
    needs("ethtool")
    for pair in (("a", "b"), ("c", "d")):
        namespace.veth(*pair, more=("numrxqueues", 2))
    namespace.run("ethtool", "-L", "b", "rx", 1)
    before = namespace.programs()
    words = ["fwd", f"xdp:b,mode={mode}", f"xdp:c,mode={mode}", "--json"]
    namespace.started.append(job := Running(namespace.command(*command(*words))))
    job.wait()
    programs = [namespace.link(name)["xdp"] for name in ("b", "c")]
    check = ["pktgen", "packet:a", "--rx-port", "packet:d", "--rate", "5kpps", "--json"]
    for queues in (1, 2):
        namespace.run("ethtool", "-L", "b", "rx", queues)
        upgraded(job, "--with", newer.place, enter=namespace.command())
        assert [namespace.link(name)["xdp"] for name in ("b", "c")] == programs
        done = Running(namespace.command(*command(*check, "--count", "1000")))
        code, out, err = done.ends()
        assert code == 0, out + err
        result = answer(out)
        assert result["received"] == 1000
        assert [result[name] for name in ("lost", "duplicated", "reordered")] == [0] * 3
    result = job.end()
    assert result["upgrades"] == len(result["before"]) == 2
    assert total(result, "forwarded") >= 2000
    assert all(each["ports"][0]["rx_packets"] for each in lives(result)[1:])
    assert len({each["ports"][0]["how"] for each in lives(result)}) == 1
    assert namespace.programs() == before == set()


@pytest.mark.full
def test_limits_go_on_with_what_is_left(started, newer):
    limits = ["--count", "1M", "--duration", "1000s", "--require", "2"]
    job = started("pktgen", "null:", "--rate", "2kpps", *limits).wait()
    until(lambda: job.count("tx_packets"))
    for _ in range(2):
        upgraded(job, "--with", newer.place)
    result = job.end()
    first, second = result["before"]
    assert second["asked"]["count"] == 1_000_000 - first["offered"]
    assert result["asked"]["count"] == second["asked"]["count"] - second["offered"]
    left = second["asked"]["duration_s"] - second["elapsed_s"]
    assert result["asked"]["duration_s"] == pytest.approx(left, abs=scaled(0.1))
    assert first["sent"] > 0


@pytest.mark.full
def test_the_summary_tells_of_the_lives_before(newer):
    words = command("fwd", "null:", "null:")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        job = Running.__new__(Running)
        job.process = process
        until(job.ports)
        upgraded(job, "--with", newer.place)
        process.send_signal(signal.SIGINT)
        out = process.communicate(timeout=scaled(60))[0]
    assert process.returncode == 0
    assert f"before, as uspnet {__version__}: forwarded " in out


def test_the_command_line_keeps_its_secrets(started, newer):
    place = f"@uspnet-cold-{os.getpid()}"
    words = ["fwd", f"memif:{place},role=server,secret=hush", "null:"]
    job = started(*words).wait()
    upgraded(job, "--with", newer.place)
    assert "hush" not in Path(f"/proc/{job.process.pid}/cmdline").read_text()
    peer = started("pktgen", f"memif:{place},secret=hush", "--count", "1k")
    code, out, err = peer.ends()
    assert code == 0, out + err
    job.end()
