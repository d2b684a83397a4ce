# SPDX-License-Identifier: Apache-2.0
"""Filters as XDP programs return for each packet what libpcap's own interpreter says, in this
kernel: its verifier takes them, and BPF_PROG_TEST_RUN runs them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import struct

import pytest

from tests.support.filters import Edge, Judge, drawn, filters, frames
from tests.support.tiers import by_tier
from uspnet.errors import NotSupported
from uspnet.packets.filter import Filter, Step, compile_filter
from uspnet.packets.filter.ebpf import program
from uspnet.packets.filter.program import loops

BPF, LOAD, RUN, XDP, ATTACH_XDP = 321, 5, 10, 6, 37
PASS, DROP = 2, 1
SHORTEST = 14  # bytes of a packet that the kernel runs a program on
CASES = [frame[:n] for frame in frames() for n in range(SHORTEST, len(frame) + 1)]


def bpf(command, attributes):
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"))
    done = call(BPF, command, buffer, len(buffer))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done, buffer


def load(code, log=b""):
    """Load a program, and return its descriptor."""
    instructions, said = ctypes.create_string_buffer(code), ctypes.create_string_buffer(1 << 16)
    licence = ctypes.create_string_buffer(b"GPL")
    where = [ctypes.addressof(each) for each in (instructions, licence, said)]
    head = struct.pack("=IIQQ", XDP, len(code) // 8, where[0], where[1])
    rest = struct.pack("=IIQII16sII", 1, len(said) if log else 0, where[2] if log else 0, 0, 0, b"",
                       0, ATTACH_XDP)  # fmt: skip
    rest = struct.pack("=I", 1 if log else 0) + rest[4:]
    try:
        return bpf(LOAD, head + rest)[0]
    except OSError:
        if not log:
            return load(code, b"log")
        raise AssertionError(said.value.decode(errors="replace")[-2000:]) from None


def run(fd, data):
    """Run a loaded program on a packet, and return what it returns."""
    given = ctypes.create_string_buffer(data, len(data))
    _, said = bpf(
        RUN, struct.pack("=IIIIQQII", fd, 0, len(data), 0, ctypes.addressof(given), 0, 1, 0)
    )
    return struct.unpack_from("=I", said, 4)[0]


@pytest.fixture(scope="module", autouse=True)
def _allowed():
    try:
        os.close(bpf(LOAD, b"")[0])
    except OSError as error:
        if error.errno in {errno.EPERM, errno.ENOSYS}:
            pytest.skip("needs CAP_BPF and CAP_NET_ADMIN")


def compare(only, cases, edge):
    """How many of these packets the program accepts; none otherwise than libpcap does."""
    fd, judge, accepted = load(program(only, PASS, DROP)), Judge(only.steps), 0
    for data in cases:
        _, address = edge.put(data)
        theirs = PASS if judge(address, len(data), len(data)) else DROP
        assert run(fd, data) == theirs, (only.text, data)
        accepted += theirs == PASS
    os.close(fd)
    return accepted


def test_filters_of_all_kinds_accept_what_libpcap_does():
    chance, edge, differ, tried = random.Random(6), Edge(), 0, 0
    for text in filters():
        only = compile_filter(text)
        if loops(only.steps):
            continue
        cases = chance.sample(CASES, by_tier(60, 300))
        tried, differ = tried + 1, differ + (0 < compare(only, cases, edge) < len(cases))
    assert tried >= 200
    assert differ > tried * 0.6


def test_any_program_does_what_libpcap_makes_of_it():
    chance, edge, accepted, runs = random.Random(3), Edge(), 0, by_tier(150, 1500)
    for _ in range(runs):
        accepted += compare(Filter("drawn", drawn(chance)), chance.sample(CASES, 4), edge)
    assert runs * 0.4 < accepted < runs * 3.6


def test_a_filter_may_end_in_instructions():
    goes_on = struct.pack("<BBhI", 0xB7, 0, 0, 7) + struct.pack("<BBhI", 0x95, 0, 0, 0)
    fd = load(program(compile_filter("udp port 53"), goes_on, DROP))
    assert {run(fd, frame) for frame in frames()} == {7, DROP}
    os.close(fd)


def test_a_filter_that_jumps_back_is_refused():
    with pytest.raises(NotSupported, match="no filter that jumps back") as caught:
        program(compile_filter("ip6 protochain 6"), PASS, DROP)
    assert "write: proto" in caught.value.hint


def test_one_that_is_too_long_is_refused():
    long = [*[Step(0x48, 0, 0, 4)] * 4095, Step(0x06, 0, 0, 1)]
    with pytest.raises(NotSupported, match="too long for XDP"):
        program(Filter("long", long), PASS, DROP)
