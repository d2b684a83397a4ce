# SPDX-License-Identifier: Apache-2.0
"""Logs of HdrHistogram are read as its own library has written them."""

from __future__ import annotations

import base64
import contextlib
import random
import struct
import zlib

import pytest
from hdrh.histogram import HdrHistogram

from uspnet.errors import Malformed
from uspnet.fastpath import lib
from uspnet.telemetry.hdr import log_head, log_line
from uspnet.telemetry.hdr_read import read_log


def log(*histograms, tag=""):
    """A log of histograms, one an interval."""
    return log_head(1e9) + "".join(
        f"{tag}{number}.0,1.0,{each.get_max_value()},{each.encode().decode()}\n"
        for number, each in enumerate(histograms)
    )


def recorded(made, values):
    for value in values:
        made.record_value(value)
    return made


def counted(*histograms):
    """What the library itself says of all recorded values."""
    sums = {}
    for each in histograms:
        for item in each.get_recorded_iterator():
            sums[item.value_iterated_to] = (
                sums.get(item.value_iterated_to, 0) + item.count_added_in_this_iter_step
            )
    return sorted(sums.items())


RANGES = [(1, 1 << 40, 2), (1, 3_600_000_000, 3), (1000, 1 << 35, 1), (1, 1 << 20, 4)]


@pytest.mark.parametrize(("lowest", "highest", "digits"), RANGES)
@pytest.mark.parametrize("tag", ["", "Tag=a b,"])
def test_what_other_programs_write_is_read(lowest, highest, digits, tag):
    source = random.Random(7)
    values = [int(source.lognormvariate(9, 2)) + lowest for _ in range(3000)]
    values = [min(value, highest - 1) for value in values] + [lowest, highest - 1]
    both = [recorded(HdrHistogram(lowest, highest, digits), part)
            for part in (values[:1000], values[1000:])]  # fmt: skip
    assert read_log("x", log(*both, tag=tag)) == counted(*both)
    assert sum(count for _, count in read_log("x", log(*both))) == len(values)


def test_our_own_slots_are_read():
    counts = list(range(lib.HISTOGRAM_SLOTS))
    text = log_head(1e9) + log_line(1e9, 1.0, 7, counts)
    wanted = [(lib.histogram_floor(slot + 1) - 1, count) for slot, count in enumerate(counts)]
    assert read_log("x", text) == wanted[1:]


def test_an_empty_histogram_has_nothing():
    assert read_log("x", log_head(1e9) + log_line(1e9, 1.0, 0, [])) == []


def packed(head, data=b""):
    """An interval whose histogram has this head and counts."""
    inner = zlib.compress(head + data)
    return "1,1,1," + base64.b64encode(struct.pack(">II", 0x1C849314, len(inner)) + inner).decode()


def head(size=0, cookie=0x1C849313, digits=2, lowest=1):
    return struct.pack(">IIiiQQd", cookie, size, 0, digits, lowest, 1 << 40, 1.0)


GOOD = log(recorded(HdrHistogram(1, 1 << 40, 2), [5, 500]))
WRONG = {
    "nothing": ("", "no histogram"),
    "a head alone": (log_head(1e9), "no histogram"),
    "text": ("hello\n", "line 1: it is no interval"),
    "bytes": ("\x1b[31m\0", "line 1: it is no interval"),
    "a bad letter": (GOOD.replace("HISTF", "H!STF"), "line 4: it is no interval"),
    "no base64": ("1,1,1,AAA", "line 1: "),
    "too short": ("1,1,1,AAAA", "line 1: "),
    "uncompressed": ("1,1,1," + base64.b64encode(head() * 2).decode(), "not compressed V2"),
    "half of it": (GOOD[: len(GOOD) * 9 // 10 // 4 * 4], "line 4: "),
    "another version": (packed(head(cookie=0x1C849303)), "not V2"),
    "longer than it says": (packed(head(), b"\2"), "not V2"),
    "cut in a number": (packed(head(1), b"\x80"), "cut"),
    "digits": (packed(head(1, digits=99), b"\2"), "99 digits"),
    "lowest": (packed(head(1, lowest=0), b"\2"), "from 0 on"),
    "too many slots": (packed(head(6), b"\xff\xff\xff\xff\xff\x7f"), "more slots"),
    "a bomb": (packed(bytes(80 << 20)), "64 MiB"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_log_is_named_with_its_line(name):
    text, said = WRONG[name]
    with pytest.raises(Malformed, match=r"^f\.hdr") as refused:
        read_log("f.hdr", text)
    assert said in refused.value.message
    assert "pktgen --save" in refused.value.hint


def test_any_change_is_read_or_named():
    source = random.Random(8)
    for _ in range(2000):
        text = bytearray(GOOD.encode())
        for _ in range(source.randint(1, 4)):
            text[source.randrange(len(text))] = source.randrange(256)
        with contextlib.suppress(Malformed):
            read_log("x", text.decode(errors="replace"))
