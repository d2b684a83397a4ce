# SPDX-License-Identifier: Apache-2.0
"""Kinds of capture files, as the port's options and the command line know them; quick to import."""

from __future__ import annotations

from enum import StrEnum

SNAPLEN_MAX = 262144  # bytes, as in dumpcap


class Truncated(StrEnum):
    """What becomes of packets of which a file has only a part."""

    send = "send"
    pad = "pad"
    skip = "skip"


class Format(StrEnum):
    """Capture file formats: pcapng and nsecpcap count nanoseconds, pcap microseconds."""

    pcapng = "pcapng"
    pcap = "pcap"
    nsecpcap = "nsecpcap"


class Compression(StrEnum):
    """How a file that is written is compressed."""

    none = "none"
    zstd = "zstd"
    gzip = "gzip"
    lz4 = "lz4"


class Slice(StrEnum):
    """What is kept of each packet: all, or its headers up to that of layer 4."""

    none = "none"
    l4 = "l4"


class Writing(StrEnum):
    """How a file gets to its disk: past the page cache, or through it; or as the disk allows."""

    auto = "auto"
    direct = "direct"
    buffered = "buffered"
