# SPDX-License-Identifier: Apache-2.0
"""The filter of system calls, interpreted: for both architectures, on either."""

from __future__ import annotations

import itertools

import pytest

from tests.support.bpf import verdict
from uspnet.sandbox.calls import BASE, MACHINES, number
from uspnet.sandbox.seccomp import ALLOW, KILL, KILL_CALL, TRAP, program

OURS = 4711
X32 = 0x40000000
LISTS = [BASE, BASE | {"write"}, BASE | {"sendmmsg", "sendto", "write"}, frozenset({"read"})]


@pytest.fixture(params=itertools.product(MACHINES, LISTS), ids=lambda p: f"{p[0]}-{len(p[1])}")
def filtered(request):
    """filtered(number, *arguments): what the filter says."""
    machine, names = request.param
    steps = program(names, machine, OURS)

    def ask(call, *arguments):
        return verdict(steps, MACHINES[machine].audit, call, *arguments)[0]

    ask.machine, ask.names, ask.steps = machine, names, steps
    return ask


def test_what_is_listed_is_allowed_and_nothing_else(filtered):
    allowed = {number(name, filtered.machine) for name in filtered.names}
    own_process = {number("tgkill", filtered.machine): OURS}
    for call in range(600):
        answer = filtered(call, own_process.get(call, 0))
        assert answer == (ALLOW if call in allowed else TRAP), call


def test_numbers_of_x32_and_beyond_are_refused(filtered):
    for call in [*range(X32, X32 + 600), KILL_CALL - 1, KILL_CALL + 1, 2**31, 2**32 - 1]:
        assert filtered(call) == TRAP


def test_the_one_call_that_kills(filtered):
    assert filtered(KILL_CALL) == KILL


def test_calls_of_another_architecture_kill(filtered):
    for audit in [0, 0x40000003, *(m.audit for m in MACHINES.values())]:
        if audit == MACHINES[filtered.machine].audit:
            continue
        for call in range(400):
            assert verdict(filtered.steps, audit, call)[0] == KILL


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_memory_is_never_mapped_executable(machine, high):
    steps, mmap = program(BASE, machine, OURS), number("mmap", machine)
    for access in range(16):
        expected = TRAP if access & 4 else ALLOW
        answer, _ = verdict(steps, MACHINES[machine].audit, mmap, 0, 4096, access | high, 0x22)
        assert answer == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_signals_go_to_the_own_process_only(machine):
    steps, tgkill = program(BASE, machine, OURS), number("tgkill", machine)
    for process in [0, 1, OURS - 1, OURS + 1, 2**32 - 1, 2**31]:
        assert verdict(steps, MACHINES[machine].audit, tgkill, process, 1, 9)[0] == TRAP
    assert verdict(steps, MACHINES[machine].audit, tgkill, OURS, OURS + 1, 23)[0] == ALLOW


def test_it_is_short_and_jumps_stay_inside(filtered):
    assert len(filtered.steps) <= 3 * 20 + 16
    for at, step in enumerate(filtered.steps):
        assert at + max(step.if_true, step.if_false) < len(filtered.steps)
        assert max(step.if_true, step.if_false) < 256


def test_a_call_that_no_table_has_is_an_error():
    with pytest.raises(KeyError, match="frobnicate"):
        program({"frobnicate"}, "x86_64", OURS)
