# SPDX-License-Identifier: Apache-2.0
"""The seccomp filter of the worker process, as a classic BPF program.

References: Linux Documentation/userspace-api/seccomp_filter.rst, linux/seccomp.h.

Allowed calls are compared one after the other. The kernel (since 5.11) runs the program once for
each number and remembers the calls that are allowed whatever their arguments, so the length of the
list costs nothing; a binary search over 20 numbers would only be harder to read. x32 numbers need
no check of their own: they have bit 30 set, and are in no list.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import NamedTuple

from uspnet.fastpath import c, ffi, lib
from uspnet.sandbox.calls import MACHINES, number

# linux/filter.h, linux/bpf_common.h
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # LD|W|ABS, JMP|JEQ|K, JMP|JSET|K, RET|K
# struct seccomp_data: the low halves of arguments, little-endian
NUMBER, ARCHITECTURE, ARGUMENTS, ARGUMENT_BYTES = 0, 4, 16, 8
KILL, TRAP, ALLOW = 0x80000000, 0x00030000, 0x7FFF0000
PROT_EXEC = 4
# No machine has this call. The handler of refused calls ends the process by it, since no signal
# handler can: it leaves the number of the refused call for the command's process first.
KILL_CALL = 0x3FFFFFFF


class Step(NamedTuple):
    """One instruction, as struct sock_filter has it."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0


def _argument(index: int) -> Step:
    return Step(LOAD, ARGUMENTS + index * ARGUMENT_BYTES)


def program(names: Iterable[str], machine: str, process: int) -> list[Step]:
    """Return the filter that allows these calls to the process with this id: `mmap` only without
    PROT_EXEC, `tgkill` only to itself. All others raise SIGSYS; KILL_CALL, and calls of another
    architecture, end the process. Raises KeyError for a call without a number.
    """
    checked = {  # the argument is loaded, then the step, then one that traps and one that allows
        number("mmap", machine): [_argument(2), Step(ANY_BIT, PROT_EXEC, 0, 1)],
        number("tgkill", machine): [_argument(0), Step(EQUAL, process & 0xFFFFFFFF, 1, 0)],
    }
    allowed = {number(name, machine) for name in names}
    steps = [
        Step(LOAD, ARCHITECTURE),
        Step(EQUAL, MACHINES[machine].audit, 1, 0),
        Step(RETURN, KILL),
        Step(LOAD, NUMBER),
    ]
    for each in sorted(allowed - checked.keys()):
        steps += [Step(EQUAL, each, 0, 1), Step(RETURN, ALLOW)]
    for each in sorted(allowed & checked.keys()):
        body = [*checked[each], Step(RETURN, TRAP), Step(RETURN, ALLOW)]
        steps += [Step(EQUAL, each, 0, len(body)), *body]
    return [*steps, Step(EQUAL, KILL_CALL, 1, 0), Step(RETURN, TRAP), Step(RETURN, KILL)]


def filter_for(names: Iterable[str], refused: c.Pointer[int]) -> c.SandboxStep | None:
    """Return the filter that allows this process only these calls, as an array for
    `sandbox_seal`; None on a machine whose calls are not known. From now on a refused call ends
    the process, once its number is stored in `refused`, plus 1.
    """
    machine = os.uname().machine
    if machine not in MACHINES or lib.sandbox_tell(refused, KILL_CALL):
        return None
    steps = program(names, machine, os.getpid())
    return ffi.new("struct sandbox_step[]", [step._asdict() for step in steps])


def seal(names: Iterable[str], refused: c.Pointer[int]) -> int:
    """Allow this process only the named system calls from now on. Return 0 or an errno."""
    steps = filter_for(names, refused)
    return errno.ENOSYS if steps is None else int(lib.sandbox_seal(steps, len(steps)))
