# SPDX-License-Identifier: Apache-2.0
"""Runs seccomp's classic BPF programs, also those of other machines."""

from __future__ import annotations

import struct

LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06


def verdict(steps, audit, number, *arguments):
    """What a program returns for a call with these arguments, and how many steps that takes."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, audit, 0, *values)
    accumulator = at = taken = 0
    while True:
        step, at, taken = steps[at], at + 1, taken + 1
        if step.code == RETURN:
            return step.value, taken
        if step.code == LOAD:
            assert step.value % 4 == 0
            (accumulator,) = struct.unpack_from("<I", data, step.value)
        elif step.code in {EQUAL, ANY_BIT}:
            holds = (
                accumulator == step.value if step.code == EQUAL else bool(accumulator & step.value)
            )
            at += step.if_true if holds else step.if_false
        else:
            raise AssertionError(f"code {step.code:#x}")
