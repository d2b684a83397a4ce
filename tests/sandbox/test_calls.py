# SPDX-License-Identifier: Apache-2.0
"""Numbers of system calls are the kernel's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from uspnet.sandbox import calls

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def kernels_own(machine):
    """Numbers by name. The generic header has some under two names, for 32 and 64 bits."""
    text = HEADERS[machine].read_text()
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", text, re.MULTILINE)
    return {("newfstatat" if name == "fstatat" else name): int(n) for name, n in found}


@pytest.mark.parametrize("machine", calls.MACHINES)
def test_every_number_is_the_kernels(machine):
    if not HEADERS[machine].exists():
        pytest.skip("needs the kernel's headers: linux-libc-dev")
    known = kernels_own(machine)
    column = calls.MACHINES[machine].column
    listed = {name: row[column] for name, row in calls._COLUMNS.items()}
    assert len(listed) > 100
    assert {name for name, number in listed.items() if number == "-"}.isdisjoint(known)
    ours = {name: int(number) for name, number in listed.items() if number != "-"}
    assert ours == {name: known.get(name) for name in ours}


def test_a_machine_without_poll_has_ppoll():
    assert calls.number("poll", "x86_64") != calls.number("ppoll", "x86_64")
    assert calls.number("poll", "aarch64") == calls.number("ppoll", "aarch64")


@pytest.mark.parametrize("machine", calls.MACHINES)
def test_calls_are_named_by_number(machine):
    assert calls.call_name(calls.number("openat", machine), machine) == "openat"
    assert calls.call_name(0x3FFFFFF0, machine) == "system call 1073741808"
