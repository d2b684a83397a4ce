# SPDX-License-Identifier: Apache-2.0
"""Filters as machine code, and by the interpreter, accept what libpcap's own interpreter does."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import gc
import mmap
import os
import random
import struct
from pathlib import Path

import pytest

from tests.support.filters import Edge, Judge, drawn, filters, frames, native
from tests.support.tiers import by_tier
from uspnet.errors import Malformed
from uspnet.fastpath import ffi, lib
from uspnet.machine_code import MachineCode
from uspnet.packets.filter import Filter, Step, compile_filter
from uspnet.packets.filter.native import emit
from uspnet.packets.filter.program import check

X86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="machine code is for x86-64")
CASES = [(frame[:n], len(frame)) for frame in frames() for n in range(len(frame) + 1)]
PROGRAMS = by_tier(3_000, 30_000, 1_000_000)
RETURN = Step(0x06, 0, 0, 1)


def verdicts(made, judge, cases, edge):
    """What machine code, the interpreter and the judge say of packets."""
    found = []
    for data, wire in cases:
        start, address = edge.put(data)
        ours = bool(lib.filter_accepts(made, start, len(data), wire))
        slow = bool(lib.filter_interpret(made, start, len(data), wire))
        found.append((ours, slow, judge(address, len(data), wire)))
    return found


def test_filters_of_all_kinds_accept_what_libpcap_does():
    """Whole packets, and what is left of them at every length."""
    chance, edge, accepted = random.Random(5), Edge(), 0
    assert len(filters()) >= 200
    for text in filters():
        compiled = compile_filter(text)
        made, judge = compiled.make(), Judge(compiled.steps)
        cases = CASES if by_tier(0, 1) else chance.sample(CASES, 1000)
        found = verdicts(made, judge, cases, edge)
        assert {each for each in found if len(set(each)) > 1} == set(), text
        accepted += 0 < sum(ours for ours, _, _ in found) < len(cases)
        assert made.way == (lib.FILTER_NATIVE if compiled.native() else lib.FILTER_INTERPRETED)
    assert accepted > len(filters()) * 0.75


@X86
def test_any_program_does_what_libpcap_makes_of_it():
    chance, edge, accepted = random.Random(9), Edge(), 0
    for _ in range(PROGRAMS // 100):
        programs = [drawn(chance) for _ in range(100)]
        codes = [emit(steps) for steps in programs]
        memory = MachineCode("uspnet-test", b"".join(codes))
        at = 0
        for steps, code in zip(programs, codes, strict=True):
            run, judge = native(memory.base + at), Judge(steps)
            at += len(code)
            for data, wire in chance.sample(CASES, 4):
                start, address = edge.put(data)
                ours, theirs = run(start, wire, len(data)) != 0, judge(address, len(data), wire)
                assert ours == theirs, (steps, data, wire)
                accepted += ours
        memory.close()
    assert PROGRAMS * 0.4 < accepted < PROGRAMS * 3.6


@X86
def test_shifts_beyond_all_bits_and_words_never_stored_give_nothing():
    for steps in (
        [Step(0, 0, 0, 7), Step(0x64, 0, 0, 32), Step(0x16, 0, 0, 0)],
        [Step(0, 0, 0, 7), Step(1, 0, 0, 33), Step(0x7C, 0, 0, 0), Step(0x16, 0, 0, 0)],
        [Step(0x60, 0, 0, 15), Step(0x16, 0, 0, 0)],
    ):
        made = Filter("", steps).make()
        assert made.code
        assert not lib.filter_accepts(made, bytes(60), 60, 60)
        assert not lib.filter_interpret(made, bytes(60), 60, 60)


@X86
def test_a_loop_without_an_end_rejects_the_packet():
    made = Filter("", [Step(0x05, 0, 0, 2**32 - 1)]).make()
    assert made.code
    assert not lib.filter_accepts(made, bytes(60), 60, 60)
    assert not lib.filter_interpret(made, bytes(60), 60, 60)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([], "0 instructions"),
        ([RETURN] * 4097, "4,097 instructions"),
        ([Step(0xFFFF, 0, 0, 0), RETURN], "instruction 0 is none"),
        ([Step(0x8C, 0, 0, 0), RETURN], "instruction 0 is none"),
        ([Step(0x06, 0, 0, 1 << 32)], "instruction 0 is none"),
        ([Step(0x20, 0, 0, 0)], "instruction 0 leads out"),
        ([Step(0x15, 0, 1, 0), RETURN], "instruction 0 leads out"),
        ([Step(0x05, 0, 0, 1), RETURN], "instruction 0 leads out"),
        ([Step(0x05, 0, 0, 2**32 - 2), RETURN], "instruction 0 leads out"),
        ([Step(0x60, 0, 0, 16), RETURN], "word 16 of 16"),
        ([Step(0x03, 0, 0, 16), RETURN], "word 16 of 16"),
        ([Step(0x34, 0, 0, 0), RETURN], "divides by zero"),
        ([Step(0x94, 0, 0, 0), RETURN], "divides by zero"),
    ],
)
def test_a_wrong_program_becomes_no_code(steps, why):
    with pytest.raises(Malformed, match=why):
        check(steps)
    with pytest.raises(Malformed, match=why):
        emit(steps)
    assert not Filter("", steps).native()


def maps(name):
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line.split()[1] for line in lines if f"/memfd:{name}" in line]


@X86
def test_code_is_executable_and_can_never_be_written():
    gc.collect()
    before = maps("uspnet-filter")  # of filters that other tests keep
    made = compile_filter("tcp port 80").make()
    assert maps("uspnet-filter") == [*before, "r-xs"]
    memory = MachineCode("uspnet-test", b"\xc3")
    assert maps("uspnet-test") == ["r-xs"]
    for attempt in (
        lambda: os.pwrite(memory.fd, b"x", 0),
        lambda: os.ftruncate(memory.fd, 0),
        lambda: mmap.mmap(memory.fd, mmap.PAGESIZE),
        lambda: fcntl.fcntl(memory.fd, fcntl.F_ADD_SEALS, 0),
    ):
        with pytest.raises(OSError, match="not permitted"):
            attempt()
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    there = ctypes.c_void_p(memory.address)
    assert mprotect(there, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE) == -1
    assert ctypes.get_errno() == errno.EACCES
    del made
    memory.close()
    gc.collect()
    assert maps("uspnet-filter") == before
    assert maps("uspnet-test") == []


@X86
def test_an_address_that_nobody_has_noted_is_not_called():
    """What others write into a struct that they share leads to no jump."""
    compiled = compile_filter("tcp port 80")
    made, frame = compiled.make(), frames()[7]
    code = made.code
    for wrong in (ffi.cast("uint8_t *", 0xDEADBEEF), code + 1, ffi.NULL):
        made.code = wrong
        assert lib.filter_accepts(made, frame, len(frame), len(frame))
        assert made.way == lib.FILTER_INTERPRETED
    made.code = code
    assert lib.filter_accepts(made, frame, len(frame), len(frame))
    assert made.way == lib.FILTER_NATIVE


@X86
def test_where_no_code_can_be_executed_filters_are_interpreted(monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "SELinux says no")

    monkeypatch.setattr(MachineCode, "_begin", forbidden)
    made, frame = compile_filter("tcp port 80").make(), frames()[7]
    assert not made.code
    assert lib.filter_accepts(made, frame, len(frame), len(frame))
    assert made.way == lib.FILTER_INTERPRETED


def in_child(run):
    """Run a function in a child; what it returned, as far as a status can say."""
    child = os.fork()
    if child == 0:
        os._exit(run())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def verdict_of_code():
    """2: by machine code; 1: by the interpreter; 0: the filter is wrong."""
    made, frame = compile_filter("tcp port 80").make(), frames()[7]
    accepts = lib.filter_accepts(made, frame, len(frame), len(frame))
    return accepts * (2 if made.way == lib.FILTER_NATIVE else 1)


@X86
@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer makes calls itself")
def test_code_needs_no_memory_that_is_made_executable_later():
    """Under PR_SET_MDWE, as services with MemoryDenyWriteExecute= are."""
    libc, set_mdwe = ctypes.CDLL(None), 65
    frames()

    def denied():
        if libc.prctl(set_mdwe, 1, 0, 0, 0):
            return 3  # a kernel before 6.3
        with contextlib.suppress(PermissionError):
            mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            return 4
        return verdict_of_code()

    assert in_child(denied) in {2, 3}


@X86
@pytest.mark.skipif(lib.built_with_asan(), reason="AddressSanitizer makes calls itself")
def test_a_kernel_that_refuses_executable_memory_is_believed():
    """As SELinux's policy may do; here it is a filter of system calls, for mmap with PROT_EXEC."""
    libc = ctypes.CDLL(None)
    refuse, allow = 0x50000 | errno.EACCES, 0x7FFF0000
    steps = [
        (0x20, 0, 0, 0), (0x15, 0, 3, 9), (0x20, 0, 0, 32), (0x45, 0, 1, 4),
        (0x06, 0, 0, refuse), (0x06, 0, 0, allow),
    ]  # fmt: skip
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    filtered = struct.pack("=H6xQ", len(steps), ctypes.addressof(program))
    compile_filter("ip")  # libpcap is loaded now

    def denied():
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        if libc.prctl(22, 2, filtered, 0, 0):  # PR_SET_SECCOMP
            return 3
        return verdict_of_code()

    assert in_child(denied) in {1, 3}
