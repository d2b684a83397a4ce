# SPDX-License-Identifier: Apache-2.0
"""Every worker process makes one of the system calls that the variable ATTEMPTS names, in its first
round: the next one of each process that is started in its place. It is JSON: lists of a call's name
and its arguments. The code of loops is changed for that, see EDITS.
"""

import json
import os

from uspnet.fastpath import ffi
from uspnet.sandbox.calls import number

EDITS = {  # file of the tree: a text in it, and what stands there instead
    "fastpath/loops/worker.h": (
        "    uint64_t ticks_hz;\n",
        "    uint64_t ticks_hz;\n"
        "    int64_t calls[32][7]; /* number and arguments of each */\n"
        "    uint8_t texts[32][64]; /* an argument that is a path */\n"
        "    uint64_t n_calls, next_call;\n",
    ),
    "fastpath/loops/worker.c": (
        "    store_relaxed(&w->rounds, w->rounds + 1);\n",
        "    if (w->next_call < w->n_calls) {\n"
        "        const int64_t *a = w->calls[w->next_call++];\n"
        "        syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);\n"
        "    }\n"
        "    store_relaxed(&w->rounds, w->rounds + 1);\n",
    ),
    "jobs/loops.py": (
        "        set_members(self.c, self)\n",
        "        set_members(self.c, self)\n"
        "        from uspnet.attempt import attempt\n"
        "        attempt(self.worker)\n",
    ),
}


def attempt(worker):
    """Have the worker make the calls, if there are any to be made."""
    calls = json.loads(os.environ.get("ATTEMPTS", "[]"))
    for turn, (name, arguments) in enumerate(calls):
        worker.calls[turn][0] = number(name, os.uname().machine)
        for at, value in enumerate(arguments, 1):
            worker.calls[turn][at] = placed(value, worker.texts[turn])
    worker.n_calls = len(calls)


def placed(value, text):
    """A number, or the address of a text that is put there."""
    if isinstance(value, int):
        return value
    ffi.buffer(text)[: len(value) + 1] = value.encode() + bytes(1)
    return int(ffi.cast("uintptr_t", text))
