# SPDX-License-Identifier: Apache-2.0
"""What is shown fits at 60, 80 and 120 columns: no number, name or heading is cut or wrapped, and
live views have no more lines than the screen.
"""

from __future__ import annotations

import io
from dataclasses import fields, replace

import pytest
from rich.console import Console
from rich.text import Text

from tests.support.screen import HEIGHT, WIDTHS, check
from tests.support.terminal import Terminal
from uspnet.binding.inventory import Nic
from uspnet.cli import devices, doctor, regs, stats
from uspnet.cli.views.console import print_lines
from uspnet.cli.views.live import HOW_TO_STOP, format_live
from uspnet.cli.views.ports import Rates, label
from uspnet.cli.views.summary import format_summary
from uspnet.cli.views.table import fit
from uspnet.jobs.doctor import Check, Examination
from uspnet.jobs.punctual import Pacing
from uspnet.jobs.registers import Sample
from uspnet.jobs.result import (
    Asked,
    CaptureResult,
    ForwardResult,
    GenerateResult,
    PortResult,
    ReflectResult,
)
from uspnet.jobs.returned import MeasureResult, Second
from uspnet.sandbox.enforced import Enforced
from uspnet.telemetry import Boards, RunningJob, RunningPort

BIG = 123_456_789_012_345
SHOWN = f"{BIG:,}"
SPECS = [
    "null:",
    "0000:03:00.0,rx-ring=4096,tx-ring=4096,queues=4",
    "memif:/run/vpp/sockets/interfaces/m.sock,role=client",
    "pcap:out=/var/captures/2026/07/site-7/rack-12/uplink.pcapng,format=nsecpcap,buffer=1024",
    "packet:enp101s0f0np0",
    "qemu:virtio-net,wire=lan0,packed=on,queues=2",
    "memif:/run/vpp/sockets/interfaces/another.sock,role=server,zero-copy=on",
    "tap:uspnet0",
]
FAST = Rates(999_995_000.1, 999_995_000.1, 1.2e12, 1.2e12)
UNKNOWN = Rates()
DROPS = {"no_room": BIG, "too_long": BIG, "bad_checksum": BIG, "peer_left": BIG}
COMMON = {
    "elapsed_s": 359_999.0,
    "active_s": 0.357,
    "ended": None,
    "asked": Asked(count=BIG, duration_s=359_999.9, rate_pps=14_880_952.38),
    "missed": BIG,
    "dropped": 4 * BIG,
    "drops": DROPS,
    "restarts": 1000,
    "upgrades": 100,
    "before": [],
    "sandbox": Enforced(
        user=64000, capabilities=0, no_new_privs=True, landlock=7, seccomp=20, missing=[]
    ),
    "pps": 14_879_999.0,
    "bps": 9_999_999_999_999.0,
}
LATENCY = {"min": 3, "p50": 35_700, "p90": 999_999, "p99": 10**9, "p999": 10**11, "max": BIG}
SECOND = Second(
    begins_s=1.0, ends_s=2.0, sent=BIG, received=BIG, lost=0,
    latency_ns={"p50": 1_230, "p99": 10**9, "max": BIG}, jitter_ns={"rfc3550": 7, "mean": 40_000},
)  # fmt: skip
GENERATED = {
    "command": "pktgen",
    "offered": BIG,
    "sent": BIG,
    "unsent": BIG,
    "found_ring_full": BIG,
    "l1_bps": 9_999_999_999_999.0,
    "pacing": Pacing(
        asked_pps=14_880_952.38,
        error_percent=-99.99,
        late_ns=LATENCY,
        stalls=BIG,
        stalled_s=359_999.0,
        longest_stall_s=359_999.0,
        not_running_s=359_999.0,
    ),
}


def port(spec, kind=PortResult, big=BIG, **more):
    counts = {f.name: big for f in fields(kind) if f.name[:3] in ("rx_", "tx_", "sle")}
    return kind(**{"port": spec, "driver": "null", "drops": DROPS, **counts, **more})


def result(command, ports):
    common = {**COMMON, "ports": tuple(ports)}
    match command:
        case "pktgen":
            return GenerateResult(**common, **GENERATED)
        case "measure":
            counts = dict.fromkeys(
                ("received", "lost", "duplicated", "reordered", "stale", "foreign"), BIG
            )
            jitter = {"rfc3550": 5, "mean": 35_600, "max": BIG}
            times = {"latency_ns": LATENCY, "jitter_ns": jitter, "seconds": (SECOND,)}
            return MeasureResult(**common, **GENERATED, **counts, **times)
        case "capture":
            counts = dict.fromkeys(("received", "filtered", "written", "discarded"), BIG)
            files = ["/var/captures/2026/07/site-7/uplink.pcapng"]
            return CaptureResult(command="capture", **common, **counts, files=files)
        case "reflect":
            counts = dict.fromkeys(("received", "reflected"), BIG)
            return ReflectResult(command="reflect", **common, **counts)
    counts = dict.fromkeys(("received", "copied", "forwarded"), BIG)
    return ForwardResult(command="fwd", **common, **counts)


COMMANDS = ["pktgen", "measure", "capture", "fwd", "reflect"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ports", [1, 2, 5, 8])
@pytest.mark.parametrize("rates", [FAST, UNKNOWN], ids=["fast", "unknown"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_live_view(command, rates, ports, width):
    rows = [replace(port(spec), link_bps=10**11) for spec in SPECS[:ports]]
    lines = format_live(result(command, rows), [rates] * ports, width, HEIGHT - 1)
    assert len(lines) < HEIGHT, "the cursor has a line of its own"
    wanted = [SHOWN, "missed", "dropped", "99 h 59 min of 99 h 59 min", HOW_TO_STOP]
    wanted += [label(spec, width) for spec in SPECS[: min(ports, 2)]]
    wanted += ["target 14.88 Mpps", {"pktgen": "unsent", "fwd": "too long"}.get(command, "lost")]
    wanted += ["latency p50 1.23 µs", "jitter RFC 3550 7 ns, mean 40.0 µs"] * (command == "measure")
    wanted += ["file /var/captures/2026/07/site-7/uplink.pcapng"] * (command == "capture")
    texts = check(lines, width, wanted)
    if ports == 8 and not any(label(SPECS[-1], width) in text for text in texts):
        assert any("more" in text for text in texts), "those that have no room are in a sum"
        assert "missed" in "\n".join(texts).rpartition("more")[2] or width == 120
    if rates is UNKNOWN:
        assert "0 pps" not in "\n".join(texts)
        assert any(" -" in text for text in texts)


@pytest.mark.parametrize("width", WIDTHS)
def test_empty_counters_are_left_out_and_losses_are_not(width):
    idle = port("null:", big=0, drops={}, rx_missed_errors=None)
    lines = format_live(result("capture", [idle]), [Rates(0.0, 0.0, 0.0, 0.0)], width, HEIGHT)
    text = "\n".join(check(lines, width, ["missed", "dropped", "rx now", "rx packets", "0 pps"]))
    assert "tx" not in text


def test_what_only_the_device_counted_is_named():
    row = port("null:", big=0, tx_packets=80, tx_errors=105, drops={"too_long": 25})
    (line,) = format_summary(result("fwd", [row]).as_json(), None)[-1:]
    assert line.endswith("dropped 105: too long 25, 80 of them counted by the device alone")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ports", [1, 2])
def test_a_name_longer_than_a_line_goes_on_in_the_next(ports, width):
    path = "/var/captures, of 2026/" + "0123456789" * 13 + ".pcapng"
    spec = f"pcap:out={path.rpartition('/')[2]}"
    shown = replace(result("capture", [port(spec)] * ports), files=[path])
    lines = format_live(shown, [FAST] * ports, width, HEIGHT - 1)
    texts = check(lines, width, ["missed", HOW_TO_STOP])
    assert f"file {path}" in "".join(texts)
    assert "".join(texts).replace(" ", "").count(spec) == ports, texts


@pytest.mark.parametrize("width", [*WIDTHS, None])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_summary(command, width):
    rows = [replace(port(spec), link_bps=10**11) for spec in SPECS]
    found = replace(result(command, rows), ended="signal").as_json()
    lines = format_summary(found, width)
    first = " ".join(lines[: 1 if width is None else 3])
    assert "lost" in first if command != "pktgen" else "unsent" in first
    wanted = [SHOWN, "rx_packets", "tx_packets", "line rate", "while packets flowed", *SPECS]
    wanted += ["% of the 14.88 Mpps asked for", f"dropped {4 * BIG:,}: no room {SHOWN}"]
    wanted += ["p50 35.7 µs", "jitter RFC 3550 5 ns", "mean 35.6 µs"] * (command == "measure")
    if width is None:
        assert len(lines) == len(set(lines))
        return
    check(lines, width, wanted, SPECS)


def test_a_burst_is_no_share_of_a_link():
    found = replace(result("capture", [replace(port("xdp:a"), link_bps=10**10)]), active_s=1e-6)
    assert "line rate" not in " ".join(format_summary(found.as_json(), None))


def test_a_name_ends_as_its_spec_does():
    (line,) = (
        line
        for line in format_summary(result("fwd", [port("null:")]).as_json(), None)
        if "null" in line
    )
    assert line.startswith("null:  rx_packets ")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_stats(count, width):
    ports = [port(spec, RunningPort) for spec in SPECS[:4]]
    commands = ["pktgen", "capture", "fwd"] * 3
    notes = {"sandbox": COMMON["sandbox"], "upgrades": 100, "restarts": 1000}
    every = [
        RunningJob(4_194_000 + n, 0, 1.0, name, n, ports, **notes)
        for n, name in enumerate(commands)
    ]
    jobs = every[:count]
    now = {((job.pid, job.started_ns), n): FAST for job in jobs for n in range(4)}
    lines = stats.format_screen(Boards(jobs, unreadable=3), now, width, HEIGHT - 1)
    assert len(lines) < HEIGHT
    wanted = [SHOWN, "1.00 Gpps", "4194000", "root", "null:", "missed", "dropped"]
    check(lines, width, [*wanted, "could not be read"])
    whole = stats.format_jobs(Boards(jobs), {}, width)
    texts = check(
        whole, width, [*(str(job.pid) for job in jobs), "Landlock ABI 7", "restarts 1,000"]
    )
    assert "pps" not in "".join(texts), "rates that are not known are dashes"


@pytest.mark.parametrize("width", WIDTHS)
def test_stats_without_a_job(width):
    check(stats.format_screen(Boards(), {}, width, HEIGHT - 1), width, ["no job", "Ctrl-C"])


NICS = [
    Nic(
        "0000:03:00.0", "8086:10c9", "Intel Corporation 82576 Gigabit Network Connection", 0,
        "igb", ("enp3s0f0np0", "macvtap-4711"),
        ("192.0.2.17/24", "2001:db8:1234:5678:9abc:def0:1234:5678/64"), "zero-copy",
        "12", ("0000:03:00.1", "0000:03:00.2"), "igb", "in use",
        "enp3s0f0np0 has the default route", (),
    ),
    Nic(
        "0000:04:00.0", "1af4:1000", "Virtio network device", None, None, (), (), None, None, (),
        None, "free", "", (),
    ),
]  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_devices(width):
    texts = [*NICS[0].addresses, *NICS[0].interfaces, "0000:03:00.0", "zero-copy", "in use", "free"]
    texts += ["12 with"]
    check(devices.lay_out(NICS, width), width, texts)


CHECKS = Examination(
    command="doctor",
    port="null:",
    problems=1,
    checks=(
        Check("kernel", "ok", "Linux 6.12.38+deb13-amd64"),
        Check("locked memory", "problem", "up to 8,192 KiB: NICs need more", "ulimit -l unlimited"),
        Check(
            "QEMU", "note",
            "this QEMU 7.2.15 has no igb, which the NIC of that name needs: no qemu:igb ports",
            "apt-get install -t bookworm-backports qemu-system-x86",
        ),
        Check("/dev/vfio/devices/vfio0", "problem", "belongs to root",
              "chown 1000:1000 /dev/vfio/devices/vfio0 /dev/vfio/vfio && chmod 660 /dev/iommu"),
    ),
)  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_doctor(width):
    table = doctor.check_table(CHECKS, all_states=True)
    commands = [row.mend for row in CHECKS.checks if row.mend]
    wanted = [row.check for row in CHECKS.checks] + ["problem", "note", *commands]
    check(fit(table, width), width, wanted, commands)


class Port:
    name, how = "qemu:e1000e", "vfio-cdev: /dev/vfio/devices/vfio0"


class Transport:
    found = "as the reset left it"


class Device:
    title, transport = "Intel 82574L Gigabit Network Connection", Transport()


class Job:
    port = Port()

    nic = Device()


class Register:
    def __init__(self, name, offset):
        self.name, self.offset, self.index = name, offset, None
        self.row, self.table = self, self


def samples(count):
    text = "0x00140240 FD=1 SLU=1 SPEED=2 FRCSPD=0 FRCDPX=0 RST=0 RFCE=1 TFCE=1 VME=0 PHY_RST=0"
    return [Sample(Register(f"RSCTL_{n}", 4 * n), f"{text} N={n}") for n in range(count)]


@pytest.mark.parametrize("width", WIDTHS)
def test_registers(width):
    found = samples(100)
    lines = regs.lay_out(Job(), found, {"RSCTL_77"}, width)
    check(lines, width, ["RSCTL_99", "0x0018c", "PHY_RST=0"])
    live = regs.lay_out(Job(), found, {"RSCTL_77"}, width, HEIGHT - 1)
    assert len(live) < HEIGHT
    texts = check(live, width, ["RSCTL_77", "more"])
    assert "RSCTL_77" in "".join(texts[:4]), "what has changed comes first"


def test_lines_are_printed_as_they_are():
    console = Console(width=60, file=io.StringIO(), record=True)
    print_lines(console, [Text("[bold]x[/] :smile: " + "y" * 100)])
    assert console.export_text() == "[bold]x[/] :smile: " + "y" * 100 + "\n"


CTRL_C = b"\x03"


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("command", [["pktgen", "null:", "--rate", "1M"], ["capture", "null:"]])
def test_ctrl_c_leaves_the_summary_and_nothing_else(command, width):
    with Terminal(*command, "--poll", "sleep", width=width) as terminal:
        seen = "\n".join(terminal.read_until(HOW_TO_STOP))
        assert f"uspnet {command[0]}" in seen
        terminal.read_until("pps")
        terminal.press(CTRL_C)
        left = [line for line in terminal.read_until(None) if line]
        assert terminal.process.wait() == 0
    assert left[0].startswith(("sent ", "received ")), left
    assert left[-1].lstrip().startswith(("null:", "dropped", "missed", "rx_", "tx_")), left
    assert not any(HOW_TO_STOP in line or line.startswith("uspnet") for line in left), left


def test_ctrl_c_leaves_nothing_of_stats():
    with Terminal("stats", width=60) as terminal:
        terminal.read_until("Ctrl-C quits")
        terminal.press(CTRL_C)
        assert "".join(terminal.read_until(None)) in {"", "^C"}
        assert terminal.process.wait() == 0
