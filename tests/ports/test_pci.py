# SPDX-License-Identifier: Apache-2.0
"""PCI ports before they are opened: whose options they take."""

import pytest

from uspnet.drivers import nics
from uspnet.errors import Usage
from uspnet.pci.sysfs import HOST
from uspnet.ports.pci import Pci
from uspnet.ports.registry import make_port
from uspnet.spec import parse
from uspnet.transports.fake import Fake

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


@pytest.mark.parametrize("ids", [(0x8086, 0x10D3), (0x15AD, 0x07B0)])
def test_options_are_the_ports_and_those_of_the_nic_in_the_slot(slot, ids):
    slot(*ids)
    known = make_port(A).known_options()
    assert known.keys() == {"transport"} | nics()[ids].options.known().keys()


@pytest.mark.parametrize(("ids", "size"), [((0x8086, 0x10D3), 512), ((0x15AD, 0x07B0), 4096)])
def test_the_nic_has_the_options_that_are_given_and_its_own_defaults(slot, ids, size):
    slot(*ids)

    class Slot(Pci):
        def connect(self):
            return Fake({0: ids[0], 2: ids[1]}, 0x20000)

    options = Slot(parse(f"{A},tx-ring=64")).find().options
    assert (options.rx_ring, options.tx_ring) == (size, 64)


def test_options_of_another_nic_are_unknown(slot):
    slot(0x8086, 0x10D3)
    with pytest.raises(Usage, match="unknown option 'packed'"):
        make_port(f"{A},packed=on")


@pytest.mark.parametrize("ids", [None, (0x1234, 0x5678)])
def test_without_a_known_nic_every_option_is_taken(slot, ids):
    if ids:
        slot(*ids)
    port = make_port(f"{A},transport=uio,tx-ring=64")
    assert port.options.transport == "uio"
    assert port.given == {"transport": "uio", "tx-ring": 64}
