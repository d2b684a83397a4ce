# SPDX-License-Identifier: Apache-2.0
"""What users get wrong: a message, a hint, the right exit code, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.identity import answer
from tests.support.waiting import scaled

WRONG = [
    # arguments, exit code, kind, part of the message, part of the hint
    (["pktgen"], 2, "Usage", "PORT", "uspnet pktgen --help"),
    (["pktgen", "eth0"], 2, "Usage", "eth0", "packet:eth0"),
    (["pktgen", "null"], 2, "Usage", "'null' is not a port", "write null:"),
    (["capture", "memif", "-c", "1"], 2, "Usage", "'memif' is not a port", "write memif:"),
    (["capture", "null:", "-c", "1x"], 2, "Usage", "--count '1x': not a whole", "1M"),
    (["capture", "null:", "port", "eighty"], 2, "Usage", "eighty", "pcap-filter"),
    (["stats", "capture"], 2, "Usage", "JOB 'capture': not a process id", "uspnet stats --once"),
    (["stats", "-5"], 2, "Usage", "-5", "uspnet stats"),
    (["stats", "9" * 5000], 2, "Usage", "not a process id", "uspnet stats --once"),
    (["upgrade", "9" * 5000], 2, "Usage", "not a process id", "uspnet stats --once"),
    (["stats", "4294967296"], 1, "NoDevice", "4294967296", "uspnet stats --once"),
    (["capture", "null:", "-s", "x"], 2, "Usage", "--snaplen 'x': not a whole", "1000"),
    (["fwd", "null:", "null:", "--duration", "1x"], 2, "Usage", "--duration '1x'", "1h30m"),
    (["pktgen", "null:", "--size", "1.5"], 2, "Usage", "--size '1.5': not a size", "60-1514"),
    (
        ["capture", "null:", "-c", "1", "-w", "--quiet"],
        2,
        "Usage",
        "needs a file name: '--quiet' is an option",
        "--write x.pcapng",
    ),
    (
        ["capture", "null:", "-c", "1", "-w", ""],
        2,
        "Usage",
        "needs a file name: ''",
        "--write x.pcapng",
    ),
    (["demo", "-w", "-q"], 2, "Usage", "needs a file name: '-q' is an option", "--write x.pcapng"),
    (["pktgen", "nonsense:"], 2, "Usage", "there is no port nonsense:", "null:"),
    (["pktgen", "null:,size"], 2, "Usage", "option=value", "--help"),
    (["pktgen", "null:size=60,size=61"], 2, "Usage", "twice", "one"),
    (["pktgen", "null:,wrong=1"], 2, "Usage", "unknown option", "size"),
    (["pktgen", "null:size=5"], 2, "Usage", "size=5", "14 to 9728"),
    (["pktgen", "null:", "--size", "7"], 2, "Usage", "bytes is not a frame", "14 to 9728 bytes"),
    (["pktgen", "null:", "--size", "9729"], 2, "Usage", "bytes is not a frame", "14 to 9728 bytes"),
    (
        ["pktgen", "null:", "--size", "65550"],
        2,
        "Usage",
        "bytes is not a frame",
        "14 to 9728 bytes",
    ),
    (
        ["pktgen", "null:", "--size", "9" * 40],
        2,
        "Usage",
        "bytes is not a frame",
        "14 to 9728 bytes",
    ),
    (["pktgen", "null:", "--size", "50", "--sequence"], 2, "Usage", "too few", "--size"),
    (
        ["pktgen", "null:", "--sequence", "--packet", "Ether()/IP()/UDP()"],
        2,
        "Usage",
        "0 bytes of payload",
        "--packet: /('x'*18)",
    ),
    (["pktgen", "null:name"], 2, "Usage", "has no name", "null:size="),
    (["pktgen", "pcap:in.pcapng"], 2, "Usage", "nothing can be sent", "--replay in.pcapng"),
    (["pktgen", "null:", "--rx-port", "pcap:out=x"], 2, "Usage", "can't receive", "come out of"),
    (["pktgen", "null:", "--rate", "fast"], 2, "Usage", "not a rate", "Mpps"),
    (["pktgen", "null:", "--rate", "-1"], 2, "Usage", "not a rate", "Mpps"),
    (["pktgen", "null:", "--link", "0", "--rate", "1%"], 2, "Usage", "--link '0'", "10G"),
    (["pktgen", "null:", "--src-mac", "02:00"], 2, "Usage", "MAC", "02:00:00:00:00:01"),
    (["pktgen", "null:", "--dst-ip", "1.2.3"], 2, "Usage", "IPv4", "198.18.0.1"),
    (["pktgen", "null:", "--dst-port", "65536"], 2, "Usage", "--dst-port", "--help"),
    (["pktgen", "null:", "--packet", "open('x')"], 2, "Usage", "open", "Ether()"),
    (["pktgen", "null:", "--packet", "Ether("], 2, "Usage", "--packet", "Ether()"),
    (["pktgen", "null:", "--rx-port", "lan1"], 2, "Usage", "lan1", "packet:lan1"),
    (["pktgen", "null:", "--rx-port", ""], 2, "Usage", "'' is not a port", "scheme:target"),
    (["pktgen", "null:", "--duration", "0"], 2, "Usage", "too short", "seconds"),
    (["pktgen", "null:", "--packet", "IP()/UDP()"], 2, "Usage", "no link layer", "Ether()/IP("),
    (["pktgen", "null:", "--packet", "Ether()/IP(dst='a.example')"], 2, "Usage", "name", "address"),
    (["pktgen", "null:", "--packet", "Ether()/SCTP(sport=(1,65535))"], 2, "Usage", "65,535", "fwd"),
    (
        ["pktgen", "null:", "--packet", "Ether()", "--dst-ip", "1.2.3.4"],
        2,
        "Usage",
        "--dst-ip conflicts with --packet",
        "drop --dst-ip",
    ),
    (
        ["pktgen", "null:", "--packet", "Ether()", "--src-port", "1024"],
        2,
        "Usage",
        "--src-port conflicts with --packet",
        "drop --src-port",
    ),
    (
        ["pktgen", "null:", "--packet", "Ether()/('x'*60)", "--size", "60"],
        2,
        "Usage",
        "74 bytes, more than --size 60",
        "--size 74",
    ),
    (["pktgen", "null:", "--link", "1G"], 2, "Usage", "--link", "25%"),
    (["pktgen", "null:", "--link", "1G", "--rate", "1Mpps"], 2, "Usage", "--link", "25%"),
    (["pktgen", "null:", "--ramp", "1k:2k:1k/1s", "--link", "1G"], 2, "Usage", "--link", "25%"),
    (["pktgen", "null:", "--rate", "10pps:l1"], 2, "Usage", "not a rate in bits", "2.5Gbps"),
    (["pktgen", "null:", "--rate", "25%:l1"], 2, "Usage", "not a rate in bits", "2.5Gbps"),
    (["pktgen", "null:", "--ramp", "1M"], 2, "Usage", "not a ramp", "1M:10M:1M/5s"),
    (["pktgen", "null:", "--ramp", "1M:2M:1M/x"], 2, "Usage", "not a time", "10s"),
    (["pktgen", "null:", "--ramp", "1M:2M:300k/1s"], 2, "Usage", "miss its end", "divide"),
    (["pktgen", "null:", "--ramp", "0:2M:1M/1s"], 2, "Usage", "--ramp is 0 packets", "Mpps"),
    (["pktgen", "null:", "--ramp", "1:9:1/1", "--rate", "1"], 2, "Usage", "conflicts", "drop one"),
    (["pktgen", "null:", "--ramp", "1:9:1/1", "--poisson"], 2, "Usage", "conflicts", "one --rate"),
    (["pktgen", "null:", "--replay", "x", "--poisson"], 2, "Usage", "conflicts", "own timing"),
    (["pktgen", "null:", "--poisson"], 2, "Usage", "--poisson needs a rate", "--rate 100k"),
    (
        ["pktgen", "null:", "--poisson", "--rate", "max"],
        2,
        "Usage",
        "--poisson needs a rate",
        "--rate 100k",
    ),
    (["pktgen", "null:", "--burst-size", "9"], 2, "Usage", "--burst-size needs a rate", "--rate"),
    (["pktgen", "null:", "--burst-size", "0"], 2, "Usage", "too small", "--help"),
    (["pktgen", "null:", "--burst-size", "x"], 2, "Usage", "not a whole number", "1M"),
    (["pktgen", "null:", "--burst-gap", "1ms"], 2, "Usage", "size of bursts", "--burst-size 32"),
    (
        ["pktgen", "null:", "--burst-gap", "1ns", "--burst-size", "1M"],
        2,
        "Usage",
        "1e+15 packets a second, more than 1e+12",
        "--burst-gap longer",
    ),
    (
        ["pktgen", "null:", "--burst-gap", "1e6", "--burst-size", "1"],
        2,
        "Usage",
        "--burst-gap makes 1e-06 packets a second, less than 0.001",
        "--burst-gap shorter",
    ),
    (
        ["pktgen", "null:", "--rate", "1k", "--burst-size", "1M", "--duration", "2"],
        2,
        "Usage",
        "no burst of 1,000,000 packets is due within 2 s",
        "--burst-size smaller",
    ),
    (["pktgen", "null:", "--burst-gap", "0"], 2, "Usage", "too short", "seconds"),
    (
        ["pktgen", "null:", "--burst-gap", "1ms", "--burst-size", "9", "--rate", "1k"],
        2,
        "Usage",
        "--burst-gap conflicts with --rate",
        "drop one",
    ),
    (["pktgen", "null:", "--rate", "1e400pps"], 2, "Usage", "inf packets", "Mpps"),
    (["pktgen", "null:", "--rate", ""], 2, "Usage", "not a rate", "Mpps"),
    (["pktgen", "null:", "--linger", "nan"], 2, "Usage", "--linger 'nan'", "seconds"),
    (["pktgen", "null:", "--linger", "inf"], 2, "Usage", "--linger 'inf'", "seconds"),
    (["pktgen", "null:", "--duration", "inf"], 2, "Usage", "not a time", "seconds"),
    (["pktgen", "null:", "--duration", "-1"], 2, "Usage", "not a time", "seconds"),
    (["pktgen", "null:", "-c", "9" * 20], 2, "Usage", "count", "--help"),
    (["pktgen", "memif:@none,frame=1500", "--size", "1501"], 2, "Usage", "1,500", "frame="),
    (["pktgen", "null:", "--duration", "nan"], 2, "Usage", "not a time", "seconds"),
    (["pktgen", "null:", "--count", "0"], 2, "Usage", "count", "--help"),
    (["pktgen", "null:", "--burst", "65"], 2, "Usage", "burst", "--help"),
    (["pktgen", "null:", "--poll", "never"], 2, "Usage", "never", "--help"),
    (["pktgen", "null:", "--cores", "x"], 2, "Usage", "not a core", "0-3"),
    (["pktgen", "null:", "--cores", "3-1"], 2, "Usage", "no core", "0-3"),
    (["pktgen", "null:", "--cores", "0-99999999999"], 2, "Usage", "not a core", "0-3"),
    (["pktgen", "null:", "--cores", "-1"], 2, "Usage", "not a core", "0-3"),
    (["pktgen", "null:", "--cores", "0,0"], 2, "Usage", "twice", "own"),
    (["pktgen", "null:", "--cores", "9999"], 1, "NoDevice", "9999", "usable cores"),
    (["capture"], 2, "Usage", "PORT", "uspnet capture --help"),
    (["capture", "lan1"], 2, "Usage", "lan1", "packet:lan1"),
    (["capture", "null:", "--snaplen", "-1"], 2, "Usage", "snaplen", "--help"),
    (["capture", "null:", "-c", "9" * 20], 2, "Usage", "count", "--help"),
    (["capture", "null:", "-s", "60"], 2, "Usage", "--snaplen", "-w FILE"),
    (["capture", "null:", "-B", "60"], 2, "Usage", "--buffer", "-w FILE"),
    (["capture", "null:", "-F", "pcap"], 2, "Usage", "--format", "-w FILE"),
    (["capture", "memif:/none/m.sock,wait=0"], 1, "DeviceTimeout", "/none", "role=server"),
    (["fwd", "./in.pcap", "null:"], 2, "Usage", "not a port", "pcap:./in.pcap"),
    (["fwd", "null:"], 2, "Usage", "1 is given", "uspnet fwd --help"),
    (["fwd", "null:", "lan1"], 2, "Usage", "lan1", "packet:lan1"),
    (["fwd", "null:", "null:", "--mode", "hub"], 2, "Usage", "hub", "--help"),
    (["fwd", "null:", "null:", "null:"], 2, "Usage", "mode io takes 2 ports", "--mode balance"),
    (["stats", "0"], 1, "NoDevice", "process id 0", "uspnet stats"),
    (["stats", "all"], 2, "Usage", "JOB 'all'", "uspnet stats --once"),
    (["regs"], 2, "Usage", "PORT", "uspnet regs --help"),
    (["regs", "null:", "--interval", "nan"], 2, "Usage", "--interval 'nan'", "seconds"),
    (["stats", "--interval", "0"], 2, "Usage", "--interval '0'", "0.1 to 3600"),
    (["regs", "eth0"], 2, "Usage", "eth0", "packet:eth0"),
    (["regs", "null:"], 1, "NotSupported", "no registers", "qemu:e1000e"),
    (["regs", "ffff:1f:1f.7"], 1, "NoDevice", "no PCI device ffff:1f:1f.7", "uspnet devices"),
    (["doctor", "null:", "null:"], 2, "Usage", "null:", "uspnet doctor --help"),
    (["demo", "--count", "9" * 20], 2, "Usage", "count", "uspnet demo --help"),
    (["demo", "--count", "none"], 2, "Usage", "--count", "1M"),
    (["pktgen", "null:", "--rate", "10G"], 2, "Usage", "packets or bits", "10Gbit/s, or 10Gpps"),
    (["pktgen", "null:", "--rate", "100M"], 2, "Usage", "packets or bits", "100Mbit/s, or 100Mpps"),
    (["pktgen", "null:", "--rate", "100MB/s"], 2, "Usage", "in bytes", "8 times"),
    (["pktgen", "null:", "--poll", "bsy"], 2, "Usage", "none of busy, adaptive", "busy?"),
    (["pktgen", "null:", "--rat", "1"], 2, "Usage", "no option --rat", "--rate?"),
    (["pktgen", "null:", "--topspeed"], 2, "Usage", "--topspeed needs --replay", "--rate max"),
    (["capture", "null:", "-D"], 2, "Usage", "no option -D", "uspnet devices"),
    (["fwd", "null:", "null:", "--rxq=2"], 2, "Usage", "no option --rxq", "queues=N"),
    (["pktgn"], 2, "Usage", "no command 'pktgn'", "pktgen?"),
    (["bind", "--dry-run", ""], 2, "Usage", "no NIC is named: ''", "0000:03:00.0"),
    (["devices", ""], 2, "Usage", "no NIC is named: ''", "0000:03:00.0"),
    (["devices", ".."], 2, "Usage", "no NIC is named: '..'", "0000:03:00.0"),
    (["devices", "lo"], 2, "Usage", "not on a PCI network card", "packet:lo"),
    (["fly"], 2, "Usage", "fly", "uspnet --help"),
    (["--fly"], 2, "Usage", "--fly", "uspnet --help"),
]

# How Typer, pydantic and Python word such mistakes.
LIBRARIES = [
    "Invalid value", "Got unexpected", "No such option", "No such command", "Missing", "requires",
    "Possible options", "valid integer", "Input should", "Value error", "is not one of", "[Errno",
    "invalid literal", "could not convert", "Error:", "Error(", "argument(s)", "pydantic",
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "kind", "message", "hint"), WRONG)
def test_a_mistake_has_a_message_a_hint_and_an_exit_code(
    uspnet, arguments, code, kind, message, hint
):
    result = uspnet(*arguments)
    assert result.returncode == code
    assert result.stdout == ""
    first, _, second = result.stderr.partition("\n  hint: ")
    assert first.startswith("uspnet: ")
    assert message in first
    assert hint in second
    assert "Traceback" not in result.stderr
    assert [words for words in LIBRARIES if words in result.stderr] == []


@pytest.mark.parametrize(("arguments", "code", "kind", "message", "hint"), WRONG[::4])
def test_under_json_a_mistake_is_one_object(uspnet, arguments, code, kind, message, hint):
    result = uspnet(*arguments, "--json")
    assert result.returncode == code
    error = answer(result.stdout)
    assert set(error) == {"error", "message", "hint"}
    assert error["error"] == kind
    assert hint in error["hint"]
    assert "Traceback" not in result.stderr


def test_an_option_without_its_value_names_the_command(uspnet):
    result = uspnet("capture", "null:", "-w")
    assert result.returncode == 2
    assert result.stderr == "uspnet: -w needs a value\n  hint: see: uspnet capture --help\n"


def test_loss_has_its_own_exit_code(uspnet):
    result = uspnet("pktgen", "null:", "--rx-port", "null:,size=60", "--count", "10",
                    "--fail-on-loss", "--json")  # fmt: skip
    assert result.returncode == 4


@pytest.mark.parametrize("limit", [8, 10])
def test_a_limit_of_descriptors_is_named(limit):
    words = [sys.executable, "-m", "uspnet", "capture", "null:", "--count", "1", "--write", "-"]
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *words],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"Too many open files" in done.stderr
    assert b"ulimit -n" in done.stderr


def test_a_file_that_cannot_be_read_is_named(uspnet):
    result = uspnet("fwd", "pcap:/proc/self/mem", "null:")  # nothing is mapped at 0
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("uspnet: /proc/self/mem: Input/output error\n  hint: ")


def test_a_reader_that_leaves_gets_no_message_and_exit_code_1():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "uspnet", "pktgen", "null:", "--count", "10"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_port_is_shown_as_it_was_typed_on_one_line(uspnet):
    path = "@" + ":x:[red] " + "long" * 20
    result = uspnet("pktgen", f"memif:{path},wait=0.5", "--poll", "sleep")
    assert f"waiting: memif:{path},wait=0.5: no server on {path} yet\n" in result.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("more", [["--json"], []])
def test_a_full_disk_behind_stdout_is_an_error(more, unbuffered):
    command = [sys.executable, "-m", "uspnet", "pktgen", "null:", "--count", "10", *more]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            timeout=scaled(60),
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("uspnet: stdout: No space left")
    assert "free some space" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_socket_that_finds_no_room_is_not_called_taken(uspnet, tmp_path):
    mount = f'mount -t tmpfs -o nr_inodes=1 none {tmp_path} && "$@"'
    full = ["unshare", "--mount", "sh", "-c", mount]
    if subprocess.run([*full, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root: for a file system of its own")
    words = [sys.executable, "-m", "uspnet", "capture", f"memif:{tmp_path}/m,role=server"]
    done = subprocess.run([*full, "sh", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path}/m: No space left on device" in done.stderr
    assert "hint: use another folder" in done.stderr


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_nobodys_file(tmp_path, closed):
    words = f'exec "$@" {closed}'
    file = tmp_path / "f.pcapng"
    command = ["sh", "-c", words, "sh", sys.executable, "-m", "uspnet", "capture", "null:"]
    done = subprocess.run(
        [*command, "-c", "10", "-w", file],
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert b"received" not in file.read_bytes()
