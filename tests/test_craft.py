# SPDX-License-Identifier: Apache-2.0
"""Scapy expressions make packets; everything else is refused before it can run."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from uspnet.craft import craft
from uspnet.errors import Usage


def test_an_expression_is_what_scapy_makes_of_it():
    text = "Ether(dst='02:00:00:00:00:02', src='02:00:00:00:00:01')/IP(dst='198.18.0.2',"
    text += " src='198.18.0.1', ttl=3)/UDP(sport=7, dport=9)/('x'*18)"
    ether = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    ip = IP(dst="198.18.0.2", src="198.18.0.1", ttl=3)
    assert craft(text) == (bytes(ether / ip / UDP(sport=7, dport=9) / ("x" * 18)), 18)


def test_addresses_are_never_asked_for_on_the_network():
    frame, _ = craft("Ether()/IP(dst='198.18.0.2')/UDP()")
    assert frame[:12].hex() == "020000000002" + "020000000001"


def test_options_lists_and_bytes_can_be_written():
    frame, payload = craft("Ether()/IP(src='1.2.3.4',dst='1.2.3.5')/TCP(options=[('MSS',1460)])")
    assert (len(frame), payload) == (58, 0)
    frame, payload = craft("Ether(dst='02:00:00:00:00:02', type=5)/Raw(b'\\xff')")
    assert (frame[-1:], payload) == (b"\xff", 1)


def test_a_payload_that_will_change_is_under_no_udp_checksum():
    text = "Ether()/IP(src='1.2.3.4',dst='1.2.3.5')/UDP(dport=4789)/VXLAN()/Ether()/IP()/UDP()/'x'"
    frame, _ = craft(text, numbered=True)
    assert (frame[40:42], frame[90:92]) == (bytes(2), bytes(2))
    kept, _ = craft("Ether()/IP(src='1.2.3.4',dst='1.2.3.5')/UDP(chksum=7)/'x'", numbered=True)
    assert kept[40:42] == b"\0\7"
    six, _ = craft("Ether()/IPv6(src='::1',dst='::1')/UDP()/'x'", numbered=True)
    assert six[60:62] != bytes(2)


HOSTILE = [
    "__import__('os')",
    "__import__('os').system('true')",
    "Ether().__class__",
    "Ether(dst=open('/etc/hostname').read())",
    "[c for c in ().__class__.__base__.__subclasses__()]",
    "(lambda: Ether())()",
    "Ether()/exec('1')",
    "eval('Ether()')",
    "f'{Ether()}'",
    "Ether() if True else IP()",
    "(x := Ether())",
    "Ether(**{'dst': 1})",
    "Ether(*[1])",
    "sniff()",
    "send(IP())",
    "conf",
    "'x' * 10**12",
    "Ether()/('x' * 99999999)",
    "Ether()/('x' * 65536)",
    "Ether()/(('x' * 60000) * 60000)",
    "1",
    "'Ether()'",
    "",
    "Ether(",
    "Ether()/",
    "Ether(nosuchfield=1)",
    "Ether()/NoSuchLayer()",
    "Ether(); IP()",
    "\0",
    "(" * 5000,
    "-" * 5000 + "1",
    "IP(dst='198.18.0.2')/IP()/" * 3,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_everything_else_is_refused(text):
    with pytest.raises(Usage) as caught:
        craft(text)
    assert "Ether()" in caught.value.hint


@given(st.text(alphabet="Ether()IP/'x*18[],=_.\\ \n", max_size=40))
def test_any_text_is_a_frame_or_a_usage_error(text):
    with contextlib.suppress(Usage):
        frame, payload = craft(text)
        assert len(frame) >= 14
        assert payload <= len(frame)
