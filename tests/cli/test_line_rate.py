# SPDX-License-Identifier: Apache-2.0
"""How full a summary says that a port's link was."""

from __future__ import annotations

from dataclasses import asdict

from uspnet.cli.views.summary import port_lines
from uspnet.jobs.result import Asked, PortResult

NAMES = ("rx_packets", "rx_bytes", "rx_errors", "rx_dropped", "rx_missed_errors")
NONE = dict.fromkeys((*NAMES, "tx_errors", "tx_dropped"), 0)
LINK = {**NONE, "driver": "e1000", "drops": {}, "link_bps": 10**9, "tx_packets": 1000}


def test_an_fcs_of_its_own_is_counted_once():
    for octets, broken in ((60_000, ()), (64_000, ("fcs",))):
        sent = PortResult(port="qemu:e1000", **LINK, tx_bytes=octets)
        back = PortResult(port="qemu:igb", **LINK, tx_bytes=60_000)
        rows = [asdict(sent), asdict(back)]
        run = {"active_s": 0.001, "asked": asdict(Asked(broken=broken)), "ports": rows}
        for line in port_lines(run, None):
            assert "tx 67.2 % of" in line
