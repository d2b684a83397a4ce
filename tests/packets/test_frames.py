# SPDX-License-Identifier: Apache-2.0
"""Frames made without Scapy are what Scapy would make; rates and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from uspnet.errors import Usage
from uspnet.packets.frames import (
    HEADERS,
    MeanSize,
    checksum,
    ipv4_bytes,
    l1_bits,
    mac_bytes,
    packets_a_second,
    udp_template,
    vlan_tags,
)
from uspnet.units import rate

ADDRESSES = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2")
ports = st.integers(0, 65535)


@given(st.integers(HEADERS, 1514), ports, ports)
def test_a_frame_is_what_scapy_makes_of_it(size, src_port, dst_port):
    template = udp_template(size, *ADDRESSES, src_port, dst_port)
    frame = template.frame
    read = Ether(frame)
    for layer, field in ((IP, "chksum"), (IP, "len"), (UDP, "chksum"), (UDP, "len")):
        read[layer].delfieldval(field)
    assert bytes(read) == frame
    assert (len(frame), template.payload) == (size, size - HEADERS)
    assert (read[UDP].sport, read[UDP].dport) == (src_port, dst_port)
    assert (read.src, read.dst, read[IP].src, read[IP].dst) == ADDRESSES


@given(st.integers(0, 20), st.binary(max_size=18))
def test_the_checksum_is_that_of_the_payload(at, data):
    frame = udp_template(80, *ADDRESSES, 1, 2).rebuild(HEADERS + at, data)
    read = Ether(frame)
    del read[UDP].chksum
    assert bytes(read) == frame
    assert frame[HEADERS + at :].startswith(data)


def test_vlan_tags_are_found():
    assert vlan_tags(bytes(12) + bytes.fromhex("0800")) == []
    assert vlan_tags(bytes(12) + bytes.fromhex("88a800018100000208004500")) == [0x88A8, 0x8100]
    assert vlan_tags(bytes(12)) == []


@given(st.binary(max_size=100))
def test_data_with_its_checksum_sums_to_zero(data):
    data += b"\0" * (len(data) % 2)
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0


@pytest.mark.parametrize("size", [HEADERS - 1, 9729, 65550, 1_000_000, -1])
def test_a_size_that_no_frame_has_is_refused(size):
    with pytest.raises(Usage, match="42 to 9728"):
        udp_template(size, *ADDRESSES, 1, 2)


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
    [
        ("1.5Mpps", 1.5e6),
        ("100k", 1e5),
        ("480Mbps", 1e6),
        ("100%", 10e9 / l1_bits(1, 60)),
        ("max", 0),
    ],
)
def test_rates(text, pps):
    assert packets_a_second(rate(text), MeanSize.of([60]), 10e9) == pytest.approx(pps)


def test_line_rate_of_ten_gigabit_is_the_textbook_number():
    assert packets_a_second(rate("100%"), MeanSize.of([60]), 10e9) == pytest.approx(
        14_880_952, abs=1
    )


def test_a_link_carries_short_frames_as_they_are_padded():
    size = MeanSize.of([42, 60, 98])
    assert packets_a_second(rate("50%"), size, 10e9) == pytest.approx(5e9 / l1_bits(3, 218) * 3)
    assert packets_a_second(rate("1Gbps"), size, 10e9) == pytest.approx(1e9 / 8 / 200 * 3)


@pytest.mark.parametrize("text", ["0", "2Tpps", "1e400pps", "1e-9", "0%", "0Mbps"])
def test_no_rate(text):
    with pytest.raises(Usage):
        packets_a_second(rate(text), MeanSize.of([60]), 10e9)
