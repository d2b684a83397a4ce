# SPDX-License-Identifier: Apache-2.0
"""Options of `xdp:`."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.spec import Options, choice, integer, option, switch

QUEUES_MAX = 1024


def queue_list(text: str) -> tuple[int, ...]:
    """Return the queues that `all`, `2`, `0-3` or `0+2` names; all: none. Raises ValueError."""
    if text == "all":
        return ()
    found: set[int] = set()
    for part in text.split("+"):
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers or numbers[0] < 0 or numbers[-1] >= QUEUES_MAX:
            raise ValueError("write all, 2, 0-3 or 0+2")
        found |= set(numbers)
    return tuple(sorted(found))


def power_of_two(text: str) -> int:
    """Return the slots of a ring. Raises ValueError."""
    number = integer(64, 32768)(text)
    if number & (number - 1):
        raise ValueError("a power of two, 64 to 32768")
    return number


def filter_text(text: str) -> str:
    """Return `on`, `off` or a filter as it is. Raises ValueError."""
    if not text:
        raise ValueError("write on, off or a filter, such as udp")
    return text


@dataclass(frozen=True)
class XdpOptions(Options):
    """Options of `xdp:`."""

    queues: tuple[int, ...] = option(queue_list, (), "the interface's queues: all, 2, 0-3 or 0+2")
    mode: str = option(
        choice("auto", "zero-copy", "copy", "generic"),
        "auto",
        "auto: the fastest that works; zero-copy, copy: in the driver; generic: any interface",
    )
    promisc: bool = option(switch, True, "on: receive frames for other machines too")
    keep_host: str = option(
        filter_text,
        "off",
        "on: leave what is for this machine to the kernel; or the filter of what is received",
    )
    need_wakeup: bool = option(switch, True, "off: wake the driver whether or not it asks for it")
    busy_poll: bool = option(switch, False, "on: run the driver in our own system calls")
    ring: int = option(power_of_two, 2048, "slots of each ring: a power of two, 64 to 32768")
