# SPDX-License-Identifier: Apache-2.0
"""PCI ports before they are opened: whose options they take."""

import pytest

from uspnet.errors import Usage
from uspnet.pci.sysfs import HOST
from uspnet.ports.registry import make_port

A = "0000:03:00.0"


@pytest.fixture
def slot(tmp_path, monkeypatch):
    """Puts a function with these ids at A."""
    monkeypatch.setattr(HOST, "root", str(tmp_path))
    function = tmp_path / "sys/bus/pci/devices" / A

    def put(vendor, device):
        function.mkdir(parents=True)
        (function / "vendor").write_text(f"{vendor:#06x}\n")
        (function / "device").write_text(f"{device:#06x}\n")

    return put


@pytest.mark.parametrize(("ids", "size"), [((0x8086, 0x10D3), 512), ((0x15AD, 0x07B0), 4096)])
def test_defaults_are_those_of_the_nic_in_the_slot(slot, ids, size):
    slot(*ids)
    assert make_port(A).values["rx-ring"] == size


def test_options_of_another_nic_are_unknown(slot):
    slot(0x8086, 0x10D3)
    with pytest.raises(Usage, match="unknown option 'packed'"):
        make_port(f"{A},packed=on")


@pytest.mark.parametrize("ids", [None, (0x1234, 0x5678)])
def test_without_a_known_nic_every_option_is_taken(slot, ids):
    if ids:
        slot(*ids)
    assert make_port(f"{A},transport=uio,tx-ring=64").values["tx-ring"] == 64
