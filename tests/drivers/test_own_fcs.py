# SPDX-License-Identifier: Apache-2.0
"""Intel's NICs send frames that end with their own FCS, and that they don't pad, as asked."""

from __future__ import annotations

import pytest

from tests.support.cable_end import carry_out, connected
from tests.support.harness import frame
from uspnet.drivers import nics
from uspnet.ports.qemu import models
from uspnet.transports.fake import Fake

MODELS = [name for name, nic in models().items() if "tx-fcs" in nic.options.known()]
IDS = [ids for ids, nic in nics().items() if "tx-fcs" in nic.options.known()]
IFCS = 1 << 25  # of a transmit descriptor's second half


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("own", [False, True])
def test_the_descriptors_bit_says_who_appends_the_fcs(ids, own):
    given = {"tx-fcs": False} if own else {}
    flags = nics()[ids](Fake({0: ids[0], 2: ids[1]}, 0x20000), "fake", given).tx_flags()
    assert bool(flags & IFCS) == (not own)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("own", ["on", "off"])
def test_what_a_descriptor_holds_and_the_wire_carries(station, far, tmp_path, qemu, model, own):
    """QEMU's models put no FCS on their wire: the frame's own one shows behind it."""
    made, port = connected(station, model, tmp_path, tx_fcs=own, tx_pad=own)
    frames = [frame(number, size) for number, size in enumerate((64, 200, 1514))]
    assert carry_out(made, port, far, frames) == frames
    ring = made.queues[port, "tx", 0].c
    assert bool(port.device.regs.TCTL.read().PSP) is (own == "on")
    assert all(each.tx_flags & IFCS == (IFCS if own == "on" else 0) for each in port.device.tx)
    most, _ = port.send_limit([0x88A8, 0x8100])
    assert {each.limit for each in port.device.tx} == {most}
    if port.device.ring == "intel_legacy":  # the device writes over advanced ones
        used = [ring.ring[slot].word for slot in range(3)]
        assert [word & 0xFFFF for word in used] == [64, 200, 1514]
        assert {bool(word & IFCS) for word in used} == {own == "on"}
