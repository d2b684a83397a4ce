# SPDX-License-Identifier: Apache-2.0
"""What `bind`, `unbind` and `demo` print fits a terminal of 60, 80 and 120 columns, too."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tests.support.screen import WIDTHS, check
from tests.support.terminal import Terminal
from uspnet.binding.bind import BindRequest, Plan
from uspnet.binding.safety import Reason
from uspnet.cli.bind import format_bound, format_plan
from uspnet.cli.demo import hop_table, nic_table, show_nic, show_table
from uspnet.cli.views.console import break_line
from uspnet.cli.views.table import fit
from uspnet.jobs.demo.result import DemoResult, Hop, NicHop

BIG = 123_456_789_012_345
SHOWN = f"{BIG:,}"
CHAIN = ("enp101s0f0np0", "macvtap-4711", "bridge-uplink0")
ADDRESSES = ["2001:db8:1234:5678:9abc:def0:1234:5678/64", "198.51.100.217/24"]


class Function:
    """A PCI function as plans show it."""

    def __init__(self, address):
        self.address, self.driver, self.override = address, "igb", ""


class Stepped(Plan):
    """A plan whose steps need no machine."""

    def steps(self):
        return [f"write vfio-pci to /sys/bus/pci/devices/{self.address}/driver_override"]


REASONS = (
    Reason("route", "carries the default route 0.0.0.0/0 via 198.51.100.1", CHAIN),
    Reason("address", f"has the addresses {', '.join(ADDRESSES)}", CHAIN[:1], blocks=False),
)
PLANS = [
    Stepped(Function(f"0000:03:00.{number}"), "uio_pci_generic", REASONS, {}) for number in (0, 1)
]
REQUEST = BindRequest(frozenset(), "uio_pci_generic", True, "somebody", 86_400.0)


def broken(lines, width):
    return [part for line in lines for part in break_line(line, width)]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_plan_of_a_bind(width):
    steps = [f"/sys/bus/pci/devices/{plan.address}/driver_override" for plan in PLANS]
    lines = broken(format_plan(PLANS), width)
    check(lines, width, [*steps, *ADDRESSES, *CHAIN, "[route]", "0.0.0.0/0"], steps)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_bind_did(width):
    keep = "uspnet bind --keep 0000:03:00.0 0000:03:00.1"
    lines = broken(format_bound(PLANS, REQUEST), width)
    check(lines, width, [keep, "86400 s", "bound to uio_pci_generic", "somebody's ulimit -l"])


def test_a_command_stays_in_one_piece_and_indented():
    command = "uspnet bind --keep " + " ".join(["0000:03:00.0"] * 9)
    assert break_line(f"  unbound in 60 s; to keep: {command}", 40) == [
        "  unbound in 60 s; to keep:",
        f"    {command}",
    ]
    assert break_line("one two three four", 10) == ["one two", "  three", "  four"]


def test_unbind_breaks_its_lines_on_a_terminal_alone(uspnet):
    words = ["unbind", "--all"]
    whole = uspnet(*words)
    with Terminal(*words, width=60) as terminal:
        shown = [line for line in terminal.read_until(None) if line]
        assert terminal.process.wait() == whole.returncode
    assert all(len(line) <= 60 for line in shown)
    assert " ".join(shown).split() == (whole.stdout + whole.stderr).split()


HOPS = [Hop(step=step, command=[step], packets=BIG, pps=999.99e6) for step in ("pktgen", "capture")]
NIC = NicHop(
    command=["pktgen", "qemu:virtio-net-transitional,wire=x", "qemu:virtio-net-modern,wire=x"],
    missing="", hint="", offered=BIG, sent=BIG, received=BIG, lost=BIG, pps=999.99e6,
    tx_bytes=BIG, rx_bytes=BIG,
)  # fmt: skip
RESULT = DemoResult(
    command="demo", elapsed_s=1.0, ports=(), complete=True, offered=BIG, sent=BIG, written=BIG,
    lost=BIG, pps=999.99e6, hops=HOPS, nic=NIC, files=[],
)  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_the_tables_of_demo(width):
    rate = ["999.99 Mpps", SHOWN]
    check(fit(hop_table(RESULT), width), width, ["pktgen", "capture", *rate])
    names = ["qemu:virtio-net-transitional sent", "qemu:virtio-net-modern received"]
    check(fit(nic_table(NIC), width), width, [*names, *rate])


@pytest.mark.parametrize("width", WIDTHS)
def test_what_demo_prints(width):
    console = Console(width=width, file=io.StringIO(), record=True, highlight=False)
    show_table(console, "pktgen → memif → fwd → memif → capture", hop_table(RESULT))
    show_nic(console, NIC)
    lines = console.export_text().splitlines()
    check(lines, width, ["pktgen → memif → fwd → memif → capture", "packets", "rate"])
    assert len(re.findall(SHOWN, "\n".join(lines))) == 2 + 4 + 2
