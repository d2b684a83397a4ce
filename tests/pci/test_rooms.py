# SPDX-License-Identifier: Apache-2.0
"""Only uspnet/pci reads PCI addresses and sysfs; nothing else has a copy of either."""

import re

import pytest

from tests.support.paths import ROOT
from uspnet.errors import NotSupported
from uspnet.pci.config import assign_bars, config_of, set_command
from uspnet.transports.fake import Fake

SOURCES = sorted((ROOT / "uspnet").rglob("*.py"))
COPIES = {
    "an address pattern": re.compile(r"\\\.\[0-7\]"),
    "a path below /sys/bus/pci": re.compile(r"sys/bus/pci"),
    "Command register by hand": re.compile(r"\(0x04, 2\)|(BUS_MASTER|INTX_DISABLE)\s*=\s*1\s*<<"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_one_room_has_it(copy):
    found = {
        str(path.relative_to(ROOT)) for path in SOURCES if COPIES[copy].search(path.read_text())
    }
    assert {name for name in found if not name.startswith("uspnet/pci/")} == set()


def test_the_patterns_find_what_they_are_for():
    text = r'"[01][0-9a-f]\.[0-7]" Path("/sys/bus/pci/devices") BUS_MASTER = 1 << 2'
    assert all(pattern.search(text) for pattern in COPIES.values())


class Greedy(Fake):
    """Says that each of its BARs has 1 GiB."""

    def read_config(self, offset, size):
        return 0xC0000000 if 0x10 <= offset < 0x28 else super().read_config(offset, size)


def test_bars_that_do_not_fit_below_4_gib_are_refused():
    with pytest.raises(NotSupported, match="no room for BAR 1"):
        assign_bars(Greedy({}, 4096), 0xC0000000)


@pytest.mark.parametrize("before", [0x0000, 0x0547, 0xFFFF])
def test_command_bits_are_set_one_by_one(before):
    function = Fake({4: before}, 4096)
    set_command(function, BUS_MASTER=1, MEMORY=0)
    assert function.config[4] == before & ~0b010 | 0b100
    assert config_of(function).COMMAND.read().BUS_MASTER == 1
