# SPDX-License-Identifier: Apache-2.0
"""libpcap, loaded when the first filter is compiled. It looks up the names of hosts in filters."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from uspnet.errors import NotSupported
from uspnet.packets.filter.program import Step

NAMES = ("libpcap.so.0.8", "libpcap.so.1")  # Debian's, and everybody else's
ETHERNET, LONGEST = 1, 262144  # the link type, and bytes of a packet
DLT = {101: 12}  # libpcap's own numbers of link types that differ from those in files
ANY_MASK = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("n", ctypes.c_uint), ("steps", ctypes.POINTER(_Instruction)))


def library() -> ctypes.CDLL:
    """Load libpcap. Raises NotSupported."""
    for name in NAMES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        found.pcap_open_dead.restype = ctypes.c_void_p
        found.pcap_geterr.restype = found.pcap_lib_version.restype = ctypes.c_char_p
        return found
    raise NotSupported("libpcap is needed for filters", "apt-get install libpcap0.8")


def version() -> str:
    """Return what libpcap says of its version. Raises NotSupported without libpcap."""
    said: bytes = library().pcap_lib_version()
    return said.decode(errors="replace")


def compiled(text: str, link_type: int) -> tuple[list[Step], str]:
    """Return the program for packets of a link type, or what is wrong with the text. Raises
    NotSupported.
    """
    pcap = library()
    handle = ctypes.c_void_p(pcap.pcap_open_dead(DLT.get(link_type, link_type), LONGEST))
    program = _Program()
    try:
        given = text.encode(errors="surrogateescape")
        if pcap.pcap_compile(handle, ctypes.byref(program), given, 1, ctypes.c_uint32(ANY_MASK)):
            return [], pcap.pcap_geterr(handle).decode(errors="replace")
        found = program.steps[: program.n]
        steps = [Step(s.code, s.if_true, s.if_false, s.value) for s in found]
        pcap.pcap_freecode(ctypes.byref(program))
        return steps, ""
    finally:
        pcap.pcap_close(handle)


def listing(steps: Sequence[Step]) -> list[str]:
    """Return a program as tcpdump -d prints it, a line for each instruction."""
    program = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    image = library().bpf_image
    image.restype, image.argtypes = ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_int)
    size, at = ctypes.sizeof(_Instruction), ctypes.addressof(program)
    return [image(at + n * size, n).decode() for n in range(len(steps))]
