# SPDX-License-Identifier: Apache-2.0
"""Frames made without Scapy are what Scapy would make; rates and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from uspnet.errors import Usage
from uspnet.frames import HEADERS, checksum, ipv4_bytes, l1_bits, mac_bytes, parse_rate, udp_frame

ADDRESSES = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2")
ports = st.integers(0, 65535)


@given(st.integers(HEADERS, 1514), ports, ports)
def test_a_frame_is_what_scapy_makes_of_it(size, src_port, dst_port):
    frame = udp_frame(size, *ADDRESSES, src_port, dst_port)
    read = Ether(frame)
    for layer, field in ((IP, "chksum"), (IP, "len"), (UDP, "chksum"), (UDP, "len")):
        read[layer].delfieldval(field)
    assert bytes(read) == frame
    assert len(frame) == size
    assert (read[UDP].sport, read[UDP].dport) == (src_port, dst_port)
    assert (read.src, read.dst, read[IP].src, read[IP].dst) == ADDRESSES


def test_without_a_checksum_the_field_is_zero():
    assert Ether(udp_frame(60, *ADDRESSES, 1, 2, udp_checksum=False))[UDP].chksum == 0


@given(st.binary(max_size=100))
def test_data_with_its_checksum_sums_to_zero(data):
    data += b"\0" * (len(data) % 2)
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0


def test_a_frame_shorter_than_its_headers_is_refused():
    with pytest.raises(Usage):
        udp_frame(HEADERS - 1, *ADDRESSES, 1, 2)


@pytest.mark.parametrize("text", ["", "02:00:00:00:00", "02:00:00:00:00:0g", "2:0:0:0:0:0:0"])
def test_no_mac(text):
    with pytest.raises(Usage):
        mac_bytes(text)


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.256", "::1"])
def test_no_ipv4(text):
    with pytest.raises(Usage):
        ipv4_bytes(text)


@pytest.mark.parametrize(
    ("text", "pps"),
    [("1.5Mpps", 1.5e6), ("100k", 1e5), ("480Mbps", 1e6), ("100%", 10e9 / l1_bits(1, 60))],
)
def test_rates(text, pps):
    assert parse_rate(text, 60, 10e9) == pytest.approx(pps)


def test_line_rate_of_ten_gigabit_is_the_textbook_number():
    assert parse_rate("100%", 60, 10e9) == pytest.approx(14_880_952, abs=1)


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1Tpps", "pps", "%"])
def test_no_rate(text):
    with pytest.raises(Usage):
        parse_rate(text, 60, 10e9)
