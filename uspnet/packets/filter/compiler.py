# SPDX-License-Identifier: Apache-2.0
"""Compiles a filter, and says what is wrong with one and where."""

from __future__ import annotations

import contextlib
import re

from uspnet.errors import NotSupported, Usage
from uspnet.fastpath import lib
from uspnet.packets.caret import Span, pointed
from uspnet.packets.filter.libpcap import ETHERNET, compiled
from uspnet.packets.filter.made import Filter
from uspnet.packets.filter.program import OPS, check

WORDS = re.compile(r"[<>=!]=|&&|\|\||<<|>>|[\w.:\\-]+|[^\s\w]")
NO_WORD = "1:2:3"  # neither an IPv6 address nor anything else
AUXILIARY = 0xFFFFF000  # SKF_AD_OFF: from here on, loads are of what the kernel knows of a packet
OF_KERNEL = re.compile(r"\b(inbound|outbound|ifindex)\b")
# Link types with words of their own: 802.11, Linux cooked, PF logs, ATM, MTP2.
LANGUAGES = (127, 113, 117, 123, 140)
WRONG_ANYWHERE = ("syntax error", "unknown ")
HINT = "drop it; a packet: port takes what comes in, and with outgoing=on also what is sent"


def compile_filter(text: str, link_type: int = ETHERNET) -> Filter:
    """Compile a filter for packets of a link type. Raises Usage for a wrong one, and NotSupported
    for one that is too long, and without libpcap.
    """
    if not text.strip():
        raise Usage("the filter is empty", "write one such as 'tcp port 80', see: man pcap-filter")
    if "\0" in text:
        raise Usage("the filter has a NUL byte", "see: man pcap-filter")
    steps, why = compiled(text, link_type)
    if why:
        place = _wrong_at(text, why, link_type)
        shown = pointed(text, place) if place else ()
        raise Usage(f"filter {text!r}: {why}", "see: man pcap-filter", shown)
    if len(steps) > lib.FILTER_STEPS:
        raise NotSupported(f"the filter takes {len(steps):,} instructions", "make it simpler")
    check(steps)
    return Filter(text, steps)


def choose_by(text: str, link_type: int = ETHERNET) -> Filter:
    """Compile a filter that somebody has given. Raises as compile_filter does, and Usage for one
    that asks for what only the kernel knows of a packet: it would reject all.
    """
    made = compile_filter(text, link_type)
    if any(OPS[step.code].how == "absolute" and step.value >= AUXILIARY for step in made.steps):
        word = OF_KERNEL.search(text)
        shown = pointed(text, Span(*word.span())) if word else ()
        why = "only the kernel knows direction and interface"
        raise Usage(f"filter {text!r}: {why}", HINT, shown)
    return made


def check_filter(text: str) -> None:
    """Raise as compile_filter does for a filter that is wrong whatever packets begin with."""
    try:
        choose_by(text)
    except Usage as error:
        if any(words in error.message for words in WRONG_ANYWHERE):
            raise
        for link_type in LANGUAGES:
            with contextlib.suppress(Usage):
                choose_by(text, link_type)
                return
        raise


def _wrong_at(text: str, why: str, link_type: int) -> Span | None:
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
        if "syntax error" in compiled(f"{text[: words[middle].end]} {NO_WORD}", link_type)[1]:
            high = middle
        else:
            low = middle + 1
    end = len(text.rstrip())
    return words[low] if low < len(words) else Span(end, end)
