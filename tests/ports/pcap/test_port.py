# SPDX-License-Identifier: Apache-2.0
"""Capture files as ports, judged by Wireshark's own tools.

size: every way in which a file can begin and end stands here, on the same few helpers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.captures import counted, tshark_layers
from tests.support.disks import small_disk
from tests.support.identity import answer
from tests.support.waiting import scaled, until
from uspnet.telemetry import look

FORMATS = ("pcapng", "pcap", "nsecpcap")
MARGIN_S = 60
MARK = f"USPNET_TESTED_BY={os.getpid()}"

pytestmark = pytest.mark.skipif(
    not shutil.which("capinfos"), reason="capinfos is not installed: apt-get install tshark"
)


def start(*args: str, **more: Any) -> subprocess.Popen[str]:
    more.setdefault("stdout", subprocess.PIPE)
    command = [sys.executable, "-m", "uspnet", *args]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **more)


def uspnet(*args: str, code: int = 0, **more: Any) -> str:
    """Runs a command to its end and returns stdout, and stderr when it should fail."""
    process = start(*args, **more)
    out, err = process.communicate(timeout=scaled(MARGIN_S))
    assert process.returncode == code, err or out
    assert "Traceback" not in err
    return err if code else out


def capture(*args: str) -> dict[str, Any]:
    return answer(uspnet("capture", *args, "--json"))


def tool(*args: str | Path) -> str:
    command = [str(arg) for arg in args]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=scaled(MARGIN_S), check=False
    )
    assert run.returncode == 0, run.stderr
    assert "cut short" not in run.stderr, run.stderr
    return run.stdout


def packets(path: Path) -> list[str]:
    """Time, length and bytes of each packet, as tshark reads them."""
    return [
        "{} {} {}".format(
            layer["frame"]["frame.time_epoch"], layer["frame"]["frame.len"], layer["frame_raw"][0]
        )
        for layer in tshark_layers(path)
    ]


def children() -> set[int]:
    """The ids of the writer processes of this run's jobs, and of no others on this machine."""
    found = set()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() != "uspnet-writer":
                continue
            if MARK.encode() in (process / "environ").read_bytes():
                found.add(int(process.name))
    return found


@pytest.fixture(autouse=True)
def no_writer_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(*MARK.split("="))
    yield
    until(lambda: not children(), MARGIN_S)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 packets of 14 to 1,514 bytes with odd nanoseconds, made by text2pcap and editcap."""
    folder = tmp_path_factory.mktemp("sample")
    dice, lines = random.Random(7), []
    for number in range(60):
        data = dice.randbytes(dice.choice([14, 59, 60, 61, 62, 63, 64, 65, 512, 1514]))
        lines.append(f"2024-02-29T12:00:{number:02d}.{dice.randrange(10**9):09d}Z")
        lines += [f"{at:06x} {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16)]
    text, made = folder / "sample.txt", folder / "sample.pcapng"
    text.write_text("\n".join(lines) + "\n")
    tool("text2pcap", "-q", "-t", "ISO", text, made)
    assert counted(made) == 60
    return made


@pytest.mark.parametrize("kind", FORMATS)
def test_there_and_back(sample: Path, tmp_path: Path, kind: str) -> None:
    tool("editcap", "-F", kind, sample, tmp_path / "in")
    want = packets(tmp_path / "in")
    for form in ("pcapng", "nsecpcap"):
        out = tmp_path / form
        uspnet("fwd", f"pcap:{tmp_path}/in", f"pcap:out={out},format={form}")
        assert packets(out) == want
    result = capture(f"pcap:{tmp_path}/in", "-w", str(tmp_path / "c.pcap"), "-F", "pcap")
    assert result["written"] == 60
    micro = [re.sub(r"(\.\d{6})\d{3} ", r"\g<1>000 ", line) for line in want]
    assert packets(tmp_path / "c.pcap") == micro


def test_headers_name_the_port(tmp_path: Path) -> None:
    capture("null:", "-c", "77", "-w", str(tmp_path / "f"), "-s", "40")
    shown = tool("capinfos", tmp_path / "f")
    for wanted in (
        "Capture application: uspnet",
        "Name = null:",
        "Capture length = 40",
        "Time precision = nanoseconds",
        "Number of stat entries = 1",
    ):
        assert wanted in shown
    lengths = tool(
        "tshark", "-r", tmp_path / "f", "-T", "fields", "-e", "frame.cap_len", "-e", "frame.len"
    ).split()
    assert lengths == ["40", "60"] * 77


@pytest.mark.parametrize("kind", FORMATS)
def test_pktgen_writes_files(tmp_path: Path, kind: str) -> None:
    uspnet("pktgen", f"pcap:out={tmp_path}/f,format={kind}", "-c", "1000", "--size", "61")
    assert counted(tmp_path / "f") == 1000
    wrong = "_ws.malformed || ip.checksum.status == 0"
    assert not tool("tshark", "-o", "ip.check_checksum:TRUE", "-r", tmp_path / "f", "-Y", wrong)


def test_many_queues_write_one_file(tmp_path: Path) -> None:
    result = capture("null:,queues=4", "-c", "300000", "--cores", "0", "-w", str(tmp_path / "f"))
    assert result["received"] == 300000
    assert counted(tmp_path / "f") == result["written"]


def test_a_tiny_buffer_drops_by_name(tmp_path: Path) -> None:
    for size in ("60", "9728"):
        result = capture(f"null:,size={size}", "-c", "200000", "-B", "1", "-w", "/dev/null")
        assert result["received"] == 200000
    result = capture("null:", "-c", "2000000", "-B", "1", "-w", str(tmp_path / "f"))
    assert result["dropped"] > 0
    assert counted(tmp_path / "f") == result["written"]


def test_a_file_is_never_dropped(sample: Path, tmp_path: Path) -> None:
    tool("editcap", "-F", "nsecpcap", sample, tmp_path / "in")
    result = capture(
        f"pcap:{tmp_path}/in,loop=on", "-c", "200000", "-B", "1", "-w", str(tmp_path / "out")
    )
    assert (result["written"], result["dropped"]) == (200000, 0)
    assert counted(tmp_path / "out") == 200000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_in_good_order(tmp_path: Path, number: int) -> None:
    args = ("capture", "null:", "--duration", "20", "-B", "1", "-w", "/dev/null", "--json")
    process = start(*args)
    until(lambda: any(p.rx_packets for job in look(process.pid).jobs for p in job.ports))
    process.send_signal(number)
    out, err = process.communicate(timeout=scaled(MARGIN_S))
    assert process.returncode == 0, err
    result = answer(out)
    assert result["received"] == result["written"] + result["dropped"] > 0
    assert result["ended"] == "signal"


def test_stdout_holds_the_file_alone(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as out:
        process = start("capture", "null:", "-c", "500", "-w", "-", stdout=out)
        _, err = process.communicate(timeout=scaled(MARGIN_S))
    assert process.returncode == 0
    assert "written 500" in err
    assert counted(tmp_path / "f") == 500


def test_a_reader_that_leaves_ends_the_capture() -> None:
    process = start("capture", "null:", "--duration", "20", "-w", "-")
    assert process.stdout
    assert process.stderr
    os.read(process.stdout.fileno(), 1000)
    process.stdout.close()
    with process.stderr:
        err = process.stderr.read()
    assert process.wait(MARGIN_S) == 0
    told = re.findall(r"(?:received|written|dropped) ([\d,]+)", err)
    numbers = [int(number.replace(",", "")) for number in told]
    assert numbers[0] == numbers[1] + numbers[2]


def test_packets_and_json_do_not_share_stdout() -> None:
    process = start("capture", "null:", "-w", "-", "-c", "5", "--json")
    out, _ = process.communicate(timeout=scaled(MARGIN_S))
    assert process.returncode == 2
    assert answer(out)["error"] == "Usage"


def test_a_reader_that_is_gone_before_the_start() -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("capture", "null:", "--duration", "20", "-w", "-", stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=scaled(MARGIN_S))
    assert process.returncode == 0
    assert "written 0, missed 0, dropped 0" in err


def test_live_pipe_is_prompt() -> None:
    process = start("pktgen", "pcap:out=-", "--rate", "10", "--duration", "60")
    assert process.stdout
    times = 0
    while times < 4:  # a few at a time, however busy we are
        data = os.read(process.stdout.fileno(), 65536)
        assert data, "all came at the end"
        times += len(data) < 300
    process.send_signal(signal.SIGINT)
    while os.read(process.stdout.fileno(), 65536):
        pass
    process.communicate(timeout=scaled(MARGIN_S))


def test_a_fifo_is_written_for_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        capture("null:", "-c", "100", "-w", str(tmp_path / "pipe"))
        (tmp_path / "f").write_bytes(reader.communicate(timeout=scaled(MARGIN_S))[0])
    assert counted(tmp_path / "f") == 100


@pytest.mark.parametrize("kind", FORMATS)
def test_kill_leaves_whole_records(kind: str) -> None:
    """21 kills over the three formats, at random moments of a capture that drops."""
    path, dice = Path(f"/dev/shm/uspnet-test-kill-{os.getpid()}"), random.Random()
    for _ in range(7):
        process = start(
            "capture",
            "null:,size=60",
            "-w",
            str(path),
            "-F",
            kind,
            "-B",
            "8",
            "--duration",
            "5",
            start_new_session=True,
        )
        try:
            until(lambda: path.exists() and path.stat().st_size, MARGIN_S, 0.001)
            time.sleep(dice.uniform(0, 0.08))
            mine = children()
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            until(lambda: not mine & children())  # noqa: B023 - used at once
            counted(path)  # fails for a file that is cut; tshark reads with the same library
        finally:
            process.kill()
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", ["4k", "64k", "260k", "1m", "3m"])
def test_a_full_disk_keeps_whole_records(tmp_path: Path, kind: str, size: str) -> None:
    frame = {"pcapng": 60, "pcap": 1514, "nsecpcap": 61}[kind]
    with small_disk(tmp_path / "disk", size) as disk:
        err = uspnet(
            "capture",
            f"null:,size={frame}",
            "-c",
            "2000000",
            "-w",
            str(disk / "f"),
            "-F",
            kind,
            code=1,
        )
        assert "No space left" in err
        assert counted(disk / "f") == held(err) > 0
        left = os.statvfs(disk).f_bavail
        assert left <= 1  # all that fits is there: what is cut off may free a page
        uspnet("capture", "null:", "-w", str(disk / "g"), "-c", "5", code=left == 0)
        assert left or not (disk / "g").exists()


def held(err: str) -> int:
    """What the message says of how many packets a file holds."""
    found = re.search(r"holds ([\d,]+) packets", err)
    assert found, err
    return int(found[1].replace(",", ""))


def test_a_size_limit_is_told(tmp_path: Path) -> None:
    def limit() -> None:  # it also holds for our own shared memory
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))

    err = uspnet(
        "capture",
        "null:",
        "-a",
        "duration:30",  # a busy machine's writer comes to 8 MiB when it has had its turns
        "-B",
        "1",
        "-w",
        str(tmp_path / "f"),
        code=1,
        preexec_fn=limit,
    )
    assert os.strerror(errno.EFBIG) in err
    assert counted(tmp_path / "f") == held(err) > (8 << 20) // 93


def test_a_killed_writer_is_told(tmp_path: Path) -> None:
    path = Path(f"/dev/shm/uspnet-test-writer-{os.getpid()}")
    process = start("capture", "null:", "--duration", "20", "-B", "1", "-w", str(path))
    try:
        mine = until(lambda: children() or process.poll() is not None)
        time.sleep(0.3)
        os.kill(mine.pop(), signal.SIGKILL)
        _, err = process.communicate(timeout=scaled(MARGIN_S))
        assert process.returncode == 1
        assert "killed" in err
    finally:
        process.kill()
        path.unlink(missing_ok=True)


def test_paths_may_hold_commas_and_spaces(sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "a, b=c.pcapng"
    result = capture(f"pcap:{sample}", "-w", str(path))
    assert result["files"] == [str(path)]
    uspnet("fwd", "pcap:" + str(path).replace(",", r"\,"), "null:")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["capture", "null:", "-w", "{}/no/f"], 1, "No such file"),
        (["capture", "null:", "-w", "{}"], 2, "directory"),
        (["capture", "pcap:{}"], 2, "directory"),
        (["capture", "pcap:{}/none"], 1, "No such file"),
        (["capture", "pcap:/etc/hostname"], 1, "not a pcap"),
        (["capture", "pcap:/dev/null"], 1, "is empty"),
        (["capture", "pcap:"], 2, "no file"),
        (["capture", "pcap:out={}/f"], 2, "can't receive"),
        (["fwd", "null:", "pcap:out={}/f,loop=on"], 2, "unknown option"),
        (["fwd", "null:", "pcap:out={}/f,format=x"], 2, "pcapng"),
        (["fwd", "null:", "pcap:in,out={}/f"], 2, "a file to read or out="),
        (["pktgen", "pcap:{}/f"], 2, "nothing can be sent"),
    ],
)
def test_mistakes_have_hints(tmp_path: Path, args: list[str], code: int, words: str) -> None:
    err = uspnet(*(arg.format(tmp_path) for arg in args), code=code)
    assert words in err
    assert "hint:" in err
    assert not list(tmp_path.iterdir())


def test_the_input_is_never_overwritten(sample: Path, tmp_path: Path) -> None:
    mine = tmp_path / "f.pcapng"
    shutil.copy(sample, mine)
    for args in (
        ["capture", f"pcap:{mine}", "-w", str(mine)],
        ["fwd", f"pcap:out={mine}", f"pcap:{mine}"],
    ):
        assert "being read" in uspnet(*args, code=3)
        assert mine.read_bytes() == sample.read_bytes()


def test_a_failed_start_leaves_files_alone(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"precious")
    for name in ("old", "new"):
        uspnet("fwd", f"pcap:out={tmp_path}/{name}", f"pcap:{tmp_path}/none", code=1)
    assert (tmp_path / "old").read_bytes() == b"precious"
    assert not (tmp_path / "new").exists()
