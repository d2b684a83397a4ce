# SPDX-License-Identifier: Apache-2.0
"""Options of a capture file that is written."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.fastpath import lib
from uspnet.ports.pcap.kinds import SNAPLEN_MAX, Compression, Format, Slice, Writing
from uspnet.spec import Options, choice, integer, option, string, switch

FORMATS = {
    Format.pcapng: lib.PCAP_NG,
    Format.pcap: lib.PCAP_US,
    Format.nsecpcap: lib.PCAP_NS,
}


@dataclass(frozen=True)
class SinkOptions(Options):
    """Options of a file that is written."""

    out: str = option(string(4096), "", "the file to write; - is stdout")
    format: str = option(choice(*FORMATS), "pcapng", "pcapng, pcap (us) or nsecpcap (ns)")
    snaplen: int = option(integer(1, SNAPLEN_MAX), SNAPLEN_MAX, "bytes kept of each packet")
    buffer: int = option(integer(1, 4096), 64, "MiB between port and file")
    group_read: bool = option(switch, False, "let the group of a new file read it")
    update_interval: int = option(integer(1, 60_000), 100, "ms after which packets are written")
    compress: str = option(choice(*Compression), "none", "zstd, gzip or lz4: compress the file")
    slice: str = option(choice(*Slice), "none", "l4: keep headers up to layer 4's, and no payload")
    writing: str = option(choice(*Writing), "auto", "direct: past the page cache; or buffered")
