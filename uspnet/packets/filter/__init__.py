# SPDX-License-Identifier: Apache-2.0
"""Filters in libpcap's language (pcap-filter(7)): libpcap compiles the text to classic BPF, which
is checked here and becomes machine code (`native`), eBPF (`ebpf`), or is interpreted in C.
"""

from uspnet.packets.filter.compiler import check_filter, choose_by, compile_filter
from uspnet.packets.filter.libpcap import version
from uspnet.packets.filter.made import Filter
from uspnet.packets.filter.program import Step

__all__ = ["Filter", "Step", "check_filter", "choose_by", "compile_filter", "version"]
