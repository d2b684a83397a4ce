# SPDX-License-Identifier: Apache-2.0
"""Scapy expressions on the command line."""

from __future__ import annotations

from tests.support.identity import answer


def test_a_wrong_expression_has_a_caret_under_the_fault(uspnet):
    command = ("pktgen", "null:", "--packet", "Ether()/IP(ttl=300)")
    lines = ["the value of ttl does not fit its field", "    Ether()/IP(ttl=300)",
             "                   ^~~"]  # fmt: skip
    assert uspnet(*command).stderr.splitlines()[:3] == [f"uspnet: --packet: {lines[0]}", *lines[1:]]
    error = answer(uspnet(*command, "--json").stdout)
    assert error["message"] == "--packet: " + "\n".join(lines)
