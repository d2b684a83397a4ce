# SPDX-License-Identifier: Apache-2.0
"""Filters in libpcap's language (pcap-filter(7)): libpcap compiles the text, C runs the program.

libpcap is loaded when the first filter is compiled. Names of hosts in a filter are looked up by it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import c, lib
from uspnet.memory import new
from uspnet.packets.caret import Span, pointed

NAMES = ("libpcap.so.0.8", "libpcap.so.1")  # Debian's, and everybody else's
ETHERNET, LONGEST = 1, 262144  # the link type, and bytes of a packet
DLT = {101: 12}  # libpcap's own numbers of link types that differ from those in files
ANY_MASK = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN
JUMP, JUMP_ALWAYS, CLASS = 0x05, 0x05, 0x07
WORDS = re.compile(r"[<>=!]=|&&|\|\||<<|>>|[\w.:\\-]+|[^\s\w]")
NO_WORD = "1:2:3"  # neither an IPv6 address nor anything else


class Step(NamedTuple):
    """One instruction, as struct bpf_insn has it."""

    code: int
    if_true: int
    if_false: int
    value: int


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("n", ctypes.c_uint), ("steps", ctypes.POINTER(_Instruction)))


@dataclass(frozen=True)
class Filter:
    """A filter: its text, and the program that libpcap has made of it."""

    text: str
    steps: Sequence[Step]

    def make(self) -> c.Filter:
        """Make it for C: `struct filter *`."""
        made: c.Filter = new("struct filter *")
        made.n = len(self.steps)
        for at, step in enumerate(self.steps):
            each = made.steps[at]
            each.code, each.if_true, each.if_false, each.value = step
        return made

    def listing(self) -> list[str]:
        """Return the program as tcpdump -d prints it, a line for each instruction."""
        program = (_Instruction * len(self.steps))(*(_Instruction(*step) for step in self.steps))
        image = _library().bpf_image
        image.restype, image.argtypes = ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_int)
        size = ctypes.sizeof(_Instruction)
        at = ctypes.addressof(program)
        return [image(at + n * size, n).decode() for n in range(len(self.steps))]


def compile_filter(text: str, link_type: int = ETHERNET) -> Filter:
    """Compile a filter for packets of a link type. Raises Usage for a wrong one, and NotSupported
    for one with a loop, and without libpcap.
    """
    if not text.strip():
        raise Usage("the filter is empty", "write one such as 'tcp port 80', see: man pcap-filter")
    if "\0" in text:
        raise Usage("the filter has a NUL byte", "see: man pcap-filter")
    steps = _compiled(_library(), text, DLT.get(link_type, link_type))
    if len(steps) > lib.FILTER_STEPS:
        raise NotSupported(f"the filter takes {len(steps):,} instructions", "make it simpler")
    for at, step in enumerate(steps):
        if step.code & CLASS != JUMP:
            continue
        skipped = step.value if step.code == JUMP_ALWAYS else max(step.if_true, step.if_false)
        if at + 1 + skipped >= len(steps):
            hint = "it is a loop: protochain; write: proto"
            raise NotSupported(f"filter {text!r}: it jumps back", hint)
    return Filter(text, steps)


def version() -> str:
    """Return what libpcap says of its version. Raises NotSupported without libpcap."""
    said: bytes = _library().pcap_lib_version()
    return said.decode(errors="replace")


def _library() -> ctypes.CDLL:
    for name in NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_geterr.restype = library.pcap_lib_version.restype = ctypes.c_char_p
        return library
    raise NotSupported("libpcap is needed for filters", "apt-get install libpcap0.8")


def _compiled(library: ctypes.CDLL, text: str, link: int) -> list[Step]:
    """Return the program. Raises Usage."""
    steps, why = _tried(library, text, link)
    if not why:
        return steps
    place = _wrong_at(library, text, why, link)
    shown = pointed(text, place) if place else ()
    raise Usage(f"filter {text!r}: {why}", "see: man pcap-filter", shown)


def _tried(library: ctypes.CDLL, text: str, link: int) -> tuple[list[Step], str]:
    """Return the program, or what is wrong with the text."""
    handle = ctypes.c_void_p(library.pcap_open_dead(link, LONGEST))
    program = _Program()
    try:
        given = text.encode(errors="surrogateescape")
        if library.pcap_compile(handle, ctypes.byref(program), given, 1, ctypes.c_uint32(ANY_MASK)):
            return [], library.pcap_geterr(handle).decode(errors="replace")
        found = program.steps[: program.n]
        steps = [Step(s.code, s.if_true, s.if_false, s.value) for s in found]
        library.pcap_freecode(ctypes.byref(program))
        return steps, ""
    finally:
        library.pcap_close(handle)


def _wrong_at(library: ctypes.CDLL, text: str, why: str, link: int) -> Span | None:
    """Return where the word stands that a filter can't go on with, or that libpcap names; its end
    is that of the text where something is missing. None: the place can't be told.
    """
    for quoted, number in re.findall(r"['\"](.+?)['\"]|(\d+)", why):
        if at := re.search(rf"(?<!\w){re.escape(quoted or number)}(?!\w)", text):
            return Span(*at.span())
    if "syntax error" not in why:
        return None
    words = [Span(*word.span()) for word in WORDS.finditer(text)]
    low, high = 0, len(words)  # the wrong word is one of words[low:high], or behind the last
    while low < high:
        middle = (low + high) // 2
        # The scanner rejects what follows, and says so, if the parser has come to ask for it.
        if "syntax error" in _tried(library, f"{text[: words[middle].end]} {NO_WORD}", link)[1]:
            high = middle
        else:
            low = middle + 1
    end = len(text.rstrip())
    return words[low] if low < len(words) else Span(end, end)
