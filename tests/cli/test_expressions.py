# SPDX-License-Identifier: Apache-2.0
"""Scapy expressions on the command line."""

from __future__ import annotations

from itertools import islice

import pytest
from scapy.layers import inet
from scapy.layers.l2 import Ether

from tests.support.captures import pcap_frames
from tests.support.identity import answer


def test_a_wrong_expression_has_a_caret_under_the_fault(uspnet):
    command = ("pktgen", "null:", "--packet", "Ether()/IP(ttl=300)")
    lines = ["the value of ttl does not fit its field", "    Ether()/IP(ttl=300)",
             "                   ^~~"]  # fmt: skip
    assert uspnet(*command).stderr.splitlines()[:3] == [f"uspnet: --packet: {lines[0]}", *lines[1:]]
    error = answer(uspnet(*command, "--json").stdout)
    assert error["message"] == "--packet: " + "\n".join(lines)


NETWORK = "IP(src='10.9.0.0/24',dst=['192.0.2.1','192.0.2.7'],ttl=(1,99))/UDP(dport=[53,(90,94)])"


@pytest.mark.parametrize("size", [(), ("--size", "100")])
def test_a_network_is_sent_as_scapy_counts_through_it(uspnet, tmp_path, size):
    file = tmp_path / "sent.pcap"
    words = ("--packet", f"Ether()/{NETWORK}/('x'*18)", *size, "-c", "3000", "--json")
    result = uspnet("pktgen", f"pcap:out={file},format=pcap", *words)
    found = answer(result.stdout)
    assert (found["sent"], found["asked"]["vary"]) == (3000, [])
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    upper = eval(NETWORK, vars(inet))
    zeros = "\0" * 40 if size else ""
    asked = [bytes(each) for each in islice(iter(ether / upper / ("x" * 18 + zeros)), 3000)]
    assert pcap_frames(file) == asked
    assert len(set(asked)) == 3000


def test_one_of_several_packets_has_few_values(uspnet):
    two = ("--packet", "Ether()/IP()/UDP()", "--packet", "Ether()/IP(dst='10.0.0.0/8')")
    result = uspnet("pktgen", "null:", *two)
    assert "--packet 2: the fields' values make 16,777,216 packets" in result.stderr
    assert "hint: list fewer values, or send it alone: as a stream of a --profile" in result.stderr


def test_a_field_varies_in_packets_of_several_kinds(uspnet, tmp_path):
    file = tmp_path / "sent.pcap"
    packets = [inet.UDP(sport=1, dport=2) / ("x" * 60), inet.TCP() / ("y" * 60), inet.ICMP()]
    texts = ("UDP(sport=1,dport=2)/('x'*60)", "TCP()/('y'*60)", "ICMP()/('z'*60)")
    words = [("--packet", f"Ether()/IP(dst='192.0.2.1')/{each}") for each in texts]
    vary = ("--vary", "ip.src=10.0.0.0/24", "--vary", "mac.src=02:00:00:00:00:00-02:00:00:00:00:ff")
    words = [*(word for pair in words for word in pair), *vary, "-c", "300"]
    result = uspnet("pktgen", f"pcap:out={file},format=pcap", *words, "--json")
    assert answer(result.stdout)["sent"] == 300
    packets[2] /= "z" * 60
    for number, frame in enumerate(pcap_frames(file)):
        ether = Ether(src=f"02:00:00:00:00:{number % 256:02x}", dst="02:00:00:00:00:02")
        ip = inet.IP(src=f"10.0.0.{number % 256}", dst="192.0.2.1")
        assert frame == bytes(ether / ip / packets[number % 3])
