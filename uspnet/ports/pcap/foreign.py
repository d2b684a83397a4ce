# SPDX-License-Identifier: Apache-2.0
"""What a file that is no capture file of ours may be, by its first bytes, and what helps."""

from __future__ import annotations

from uspnet.ports.pcap import compression

CONVERT = "editcap -F pcapng FILE out.pcapng"
# Formats that Wireshark reads and we don't.
CAPTURES = {
    b"\xa1\xb2\xcd\x34": "pcap as Red Hat modified it",
    b"\x34\xcd\xb2\xa1": "pcap as Red Hat modified it",
    b"\xac\x01\x00\x1c": "pcap as IXIA's hardware writes it",
    b"\x1c\x00\x01\xac": "pcap as IXIA's hardware writes it",
    b"\xab\x01\x00\x1c": "pcap as IXIA's software writes it",
    b"\x1c\x00\x01\xab": "pcap as IXIA's software writes it",
    b"snoop\0\0\0": "a snoop file",
    b"btsnoop\0": "a btsnoop file",
    b"GMBU": "a Network Monitor file",
    b"RTSS": "a Network Monitor file",
    b"TRSNIFF data": "a Sniffer file",
    b"XCP\0": "a NetXRay file",
    b"VL\0\0": "a NetXRay file",
    b"\x7fver": "a Peek file",
    b"\xaa\xaa\xaa\xaa": "a 5Views file",
    b"iptrace ": "an iptrace file",
    b"EyeSDN": "an EyeSDN file",
    b"LOGG": "a BLF file",
    b"\x05VNF": "a Visual Networks file",
}
# Link types that files often have: https://www.tcpdump.org/linktypes.html
LINKS = {
    0: "BSD loopback",
    6: "Token Ring",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    12: "raw IP",
    14: "raw IP",
    50: "PPP in HDLC frames",
    51: "PPPoE without Ethernet",
    100: "ATM",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "802.11",
    107: "Frame Relay",
    108: "OpenBSD loopback",
    113: "Linux cooked (SLL)",
    119: "802.11 with Prism headers",
    127: "802.11 with radiotap headers",
    163: "802.11 with AVS headers",
    166: "PPP with directions",
    187: "Bluetooth HCI",
    189: "USB",
    192: "PPI",
    195: "802.15.4",
    201: "Bluetooth HCI",
    204: "PPP with directions",
    205: "Cisco HDLC with directions",
    220: "USB",
    227: "CAN",
    228: "raw IPv4",
    229: "raw IPv6",
    230: "802.15.4",
    239: "NFLOG",
    249: "USB",
    251: "Bluetooth Low Energy",
    253: "netlink",
    276: "Linux cooked (SLL2)",
}
FILE_HEADER = 24  # bytes of a pcap file's
OURS = [
    bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a")
]


def what(begin: bytes) -> tuple[str, str]:
    """Return what kind of file begins with these bytes (all, if fewer than 24), and a hint."""
    if kind := compression.kind_of(begin):
        return "is compressed", f"unpack it: {compression.COMMANDS[kind]} FILE | uspnet … pcap:-"
    if name := next((name for magic, name in CAPTURES.items() if begin.startswith(magic)), ""):
        return f"is {name}", f"convert it: {CONVERT}"
    if len(begin) < FILE_HEADER and any(begin[:4] == magic[: len(begin)] for magic in OURS):
        text = f"is cut short: {len(begin)} of {FILE_HEADER} bytes of a file's header"
        return text, "copy it again"
    return "is not a pcap or pcapng file", f"if Wireshark opens it: {CONVERT}"
