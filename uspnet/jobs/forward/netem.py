# SPDX-License-Identifier: Apache-2.0
"""What `--mode impair` reads: loss as netem has it, a bottleneck's queue, and mahimahi's traces.

Reference: tc-netem(8); RFC 8289; mm-link(1).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from uspnet import units
from uspnet.errors import NoDevice, NotPermitted, Usage
from uspnet.text import printable
from uspnet.units import Unreadable

GEMODEL = "gemodel"
LOSS_HINT = (
    "write a percentage: 0.1%; with a correlation: 1%,25%; "
    "or gemodel:P[,R[,1-H[,1-K]]]: gemodel:1%,25%"
)
QUEUE_HINT = "write fifo[:PACKETS] or codel[:TARGET,INTERVAL[,PACKETS]]: codel:5ms,100ms"
PACKETS = 1000  # as tc-pfifo(8) and tc-codel(8) have it
PACKETS_MAX = 1 << 20  # what we have room for
TARGET_S, INTERVAL_S, TIME_MAX_S = 0.005, 0.1, 60.0
TRACE_LINES, LINE_MAX, TIME_MAX_MS = 1 << 22, 32, (1 << 32) - 1
TRACE_HINT = "each line is the ms at which a packet of 1,500 bytes may leave, none before the last"


@dataclass(frozen=True)
class GilbertElliott:
    """Loss in bursts: `p` and `r` are the chances that the line, with each packet, becomes bad, and
    good again; `bad` and `good` those that a packet is lost meanwhile; `first` the one that it is
    bad when the first packet comes. Shares from 0 to 1.
    """

    p: float
    r: float
    bad: float = 1.0
    good: float = 0.0
    first: float = 0.0

    def __post_init__(self) -> None:
        """Raise Usage for what is no share."""
        for name in ("p", "r", "bad", "good", "first"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise Usage(f"loss, {name}={value}", "a share, 0 to 1")


@dataclass(frozen=True)
class Queue:
    """A bottleneck's queue of `packets`: a FIFO or, with an interval, CoDel. Times in seconds."""

    packets: int = PACKETS
    target: float = TARGET_S
    interval: float = 0.0

    def __post_init__(self) -> None:
        """Raise Usage for a value that is out of range."""
        if not 1 <= self.packets <= PACKETS_MAX:
            raise Usage(f"queue of {self.packets} packets", f"1 to {PACKETS_MAX:,}")
        if self.interval and not 0 < self.target <= self.interval <= TIME_MAX_S:
            text = f"CoDel: target {self.target:g} s, interval {self.interval:g} s"
            raise Usage(text, f"times from 1us to {TIME_MAX_S:.0f}s, the target being the shorter")


def read_loss(text: str | float | GilbertElliott) -> float | GilbertElliott:
    """Read the share of packets that are lost, `SHARE,CORRELATION`, or `gemodel:P[,R[,1-H[,1-K]]]`
    with netem's default values. Raise Unreadable.
    """
    if not isinstance(text, str):
        return text
    kind, colon, rest = text.partition(":")
    if kind.strip() != GEMODEL:
        lost, comma, correlation = text.partition(",")
        return correlated(lost, correlation) if comma else units.share(text)
    words = rest.split(",")
    if not colon or len(words) > 4:
        raise Unreadable("not the values of a Gilbert-Elliott model", LOSS_HINT)
    p, *others = (units.share(word) for word in words)
    r, *rest_of = others or [1 - p]
    return GilbertElliott(p, r, *rest_of)


def correlated(lost: str, correlation: str) -> GilbertElliott:
    """Read a share of lost packets, and how far the fate of each is that of the one before it: a
    line that is bad for that share of them, from the first one on. Raise Unreadable.
    """
    share, same = units.share(lost), units.share(correlation)
    if same == 1:
        raise Unreadable("packets all of one fate are no share of them", LOSS_HINT)
    return GilbertElliott(share * (1 - same), (1 - share) * (1 - same), first=share)


def read_queue(text: str | Queue) -> Queue:
    """Read `fifo[:PACKETS]` or `codel[:TARGET,INTERVAL[,PACKETS]]`. Raise Unreadable."""
    if not isinstance(text, str):
        return text
    kind, colon, rest = text.partition(":")
    words = rest.split(",") if colon else []
    packets = units.whole(1, PACKETS_MAX)
    if kind == "fifo" and len(words) < 2:
        return Queue(*map(packets, words))
    if kind != "codel" or len(words) not in (0, 2, 3):
        raise Unreadable("not a queue", QUEUE_HINT)
    time = units.time_between(1e-6, TIME_MAX_S)
    target, interval = map(time, words[:2]) if words else (TARGET_S, INTERVAL_S)
    if target > interval:
        raise Unreadable("the target is longer than the interval", QUEUE_HINT)
    places = packets(words[2]) if words[2:] else PACKETS
    return Queue(places, target, interval)


def read_trace(name: str) -> array[int]:
    """Read a link trace, in ms. Raises Usage, which names the line, NoDevice, NotPermitted."""
    what = f"--link-trace {printable(name)}"
    try:
        with open(name, encoding="ascii", errors="replace") as lines:
            return parse_trace(what, iter(lambda: lines.readline(LINE_MAX), ""))
    except PermissionError as error:
        raise NotPermitted(f"{what}: {error.strerror}", "see: ls -l") from None
    except OSError as error:
        raise NoDevice(f"{what}: {error.strerror}", "give a trace of mahimahi's mm-link") from None


def parse_trace(what: str, lines: Iterable[str]) -> array[int]:
    """Return the times of a trace, in ms. `what`: as messages name it. Raises Usage."""
    times, last = array("Q"), 0
    for number, line in enumerate(lines, 1):
        word = line.strip()
        digits = word.isascii() and word.isdigit() and len(line) < LINE_MAX
        if not digits or (time := int(word)) > TIME_MAX_MS:
            raise Usage(f"{what}, line {number}: {printable(word)!r} is no time in ms", TRACE_HINT)
        if time < last:
            raise Usage(f"{what}, line {number}: {time} comes after {last}", TRACE_HINT)
        if number > TRACE_LINES:
            raise Usage(
                f"{what}: more than {TRACE_LINES:,} lines", "give a shorter one: it repeats"
            )
        times.append(last := time)
    if not last:
        text = "its only time is 0" if times else "it is empty"
        raise Usage(f"{what}: {text}, and it has to take some time", TRACE_HINT)
    return times
