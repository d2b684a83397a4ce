# SPDX-License-Identifier: Apache-2.0
"""The commands, on a made-up machine: what is printed, JSON, and exit codes."""

import pytest

import uspnet.binding.machine
from tests.support.identity import answer
from uspnet.binding.inventory import inventory
from uspnet.binding.netstate import Rule
from uspnet.cli import app
from uspnet.cli.failure import run

A = "0000:03:00.0"
B = "0000:03:00.1"
BESIDE_KEEP = (
    "--allow route", "--driver vfio-pci", "--confirm 5", "--persist", "--owner root", "--dry-run"
)  # fmt: skip


@pytest.fixture
def uspnet_on(lab, monkeypatch, capsys):
    """Runs a command line there; returns exit code, stdout and stderr."""
    monkeypatch.setattr(uspnet.binding.machine, "this_machine", lab.machine)

    def call(text):
        code = run(app, text.split())
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_bind_and_unbind(lab, uspnet_on):
    lab.nic(A, "eth0")
    code, out, _ = uspnet_on("bind eth0")
    assert (code, out.splitlines()[0]) == (0, f"{A}: bound to vfio-pci (was igb)")
    assert uspnet_on(f"bind {A}")[1].startswith(f"{A}: already bound to vfio-pci")
    assert uspnet_on("unbind --all")[:2] == (0, f"{A}: bound to igb as eth0\n")
    assert uspnet_on("unbind --all")[:2] == (0, "nothing is bound\n")


def test_refusal(lab, uspnet_on):
    lab.nic(A, "eth0")
    lab.route("eth0")
    lab.item("rules", Rule("eth0", 7))
    code, out, err = uspnet_on("bind eth0")
    assert (code, out) == (3, "")
    assert f"{A} [default-route] eth0: IPv4 default route" in err
    assert "--allow default-route,rule" in err
    code, out, err = uspnet_on("bind eth0 --json --allow rule")
    found = answer(out)
    assert (code, err, found["error"]) == (3, "", "Refused")
    rows = [(r["reason"], r["blocks"], r["allowed"]) for r in found["devices"][0]["reasons"]]
    assert rows[:2] == [("default-route", True, False), ("rule", True, True)]
    assert lab.kernel.log == []


@pytest.mark.parametrize("more", ["", " --json"])
def test_dry_run_touches_nothing(lab, uspnet_on, more):
    lab.nic(A, "eth0")
    code, out, _ = uspnet_on(f"bind eth0 --dry-run{more}")
    assert code == 0
    assert "driver_override" in out
    assert lab.kernel.log == []
    lab.route("eth0")
    assert uspnet_on(f"bind eth0 --dry-run{more}")[0] == 3
    assert not (lab.root / "var").exists()


@pytest.mark.parametrize(
    ("text", "code", "kind"),
    [
        ("bind", 2, "Usage"),
        ("bind 0000:99:00.0", 1, "NoDevice"),
        ("bind eth0 --force", 2, "Usage"),
        ("bind eth0 --allow all", 2, "Usage"),
        ("bind eth0 --driver eth1", 2, "Usage"),
        ("bind eth0 --owner nobody-such", 2, "Usage"),
        pytest.param(f"bind eth0 --owner {'9' * 5000}", 2, "Usage", id="a long number"),
        ("bind eth0 --owner ²", 2, "Usage"),
        ("bind eth0 --confirm 5 --persist", 2, "Usage"),
        ("bind --keep eth0", 1, "NoDevice"),
        *((f"bind --keep eth0 {more}", 2, "Usage") for more in BESIDE_KEEP),
        ("unbind", 2, "Usage"),
        ("unbind --all eth0", 2, "Usage"),
        ("unbind --allow route eth0", 2, "Usage"),
        ("devices 0000:99:00.0", 1, "NoDevice"),
    ],
)
def test_mistakes(lab, uspnet_on, text, code, kind):
    lab.nic(A, "eth0")
    found, out, _ = uspnet_on(f"{text} --json")
    assert (found, answer(out)["error"]) == (code, kind)
    assert lab.kernel.log == []


@pytest.mark.parametrize("more", ["", " --dry-run"])
def test_no_deadline_is_promised_for_what_is_bound_already(lab, uspnet_on, more):
    lab.nic(A, "eth0")
    lab.nic(B, "eth1", group="18")
    uspnet_on("bind eth0")
    code, out, err = uspnet_on(f"bind {A} {B} --confirm 60{more}")
    assert (code, out) == (2, "")
    assert f"{A} is bound already" in err
    assert f"uspnet unbind {A}" in err
    assert (lab.kernel.driver(B), lab.machine().store.load(A).deadline) == ("igb", None)


def test_rolled_back_and_left_unbound_under_json(lab, uspnet_on, monkeypatch):
    monkeypatch.setattr("uspnet.binding.rebind.PROBE_S", 0.05)
    lab.nic(A, "eth0")
    lab.kernel.fail = lambda step: step == 1
    code, out, _ = uspnet_on("bind eth0 --json")
    assert (code, answer(out)["error"]) == (1, "DeviceFault")
    lab.kernel.fail = lambda step: step >= 5
    code, out, _ = uspnet_on("bind eth0 --json")
    assert (code, answer(out)["error"]) == (1, "LeftUnbound")
    assert "LEFT UNBOUND" in answer(out)["message"]


def test_devices(lab, uspnet_on):
    lab.nic(A, "eth0", group="1")
    lab.nic(B, "eth1", group="2")
    lab.nic("0000:04:00.0", "eth2", group="3")
    lab.nic("0000:04:00.1", driver="snd", group="3", code=0x040300)
    lab.nic("0000:05:00.0", driver="vfio-pci", group="5")
    lab.nic("0000:06:00.0", driver=None, group="6")
    lab.route("eth1")
    lab.address("eth1", "10.0.0.1")
    lab.network.modes = {lab.index("eth0"): "zero-copy", lab.index("eth1"): "copy", 99: "generic"}
    code, out, _ = uspnet_on("devices --json")
    rows = {row["address"]: row for row in answer(out)["devices"]}
    assert code == 0
    assert {a: row["state"] for a, row in rows.items()} == {
        A: "free", B: "in use", "0000:04:00.0": "shared", "0000:05:00.0": "bound",
        "0000:06:00.0": "free",
    }  # fmt: skip
    assert rows[B]["addresses"] == ["10.0.0.1/24"]
    modes = [rows[each]["xdp"] for each in (A, B, "0000:04:00.0", "0000:05:00.0")]
    assert modes == ["zero-copy", "copy", None, None]
    assert rows[B]["why"] == "eth1: IPv4 default route (and 1 more)"
    assert rows["0000:04:00.0"]["group_members"] == ["0000:04:00.1"]
    assert rows["0000:05:00.0"]["why"] == "not by uspnet"
    code, out, _ = uspnet_on("devices")
    assert "0000:05:00.0 is bound: not by uspnet" in out
    assert "zero-copy" in out


def test_devices_tells_what_was_bound_and_who_uses_it(lab, uspnet_on):
    lab.nic(A, "eth0")
    uspnet_on("bind eth0")
    (nic,) = inventory(lab.machine())
    assert (nic.state, nic.why) == ("bound", "was igb as eth0")
    lab.process(9, "pktgen", "/dev/vfio/17")
    (nic,) = inventory(lab.machine())
    assert (nic.state, nic.why) == ("in use", "pktgen (process 9) drives it")


def test_a_model_has_a_name(lab):
    lab.nic(A, "eth0")
    ids = "# list\n8086  Intel Corporation\n\t10c9  82576 Gigabit\n\t\t8086 1  Sub\n9000  O\nC 02"
    lab.file("usr/share/misc/pci.ids", ids)
    assert inventory(lab.machine())[0].model == "Intel Corporation 82576 Gigabit"


def test_a_nic_that_uspnet_drives_is_named(lab):
    lab.nic(A, "eth0", ids=0x10D3)
    assert inventory(lab.machine())[0].uspnet_driver == "e1000e"
