# SPDX-License-Identifier: Apache-2.0
"""Every worker makes the system call that the variable ATTEMPT names, in its first round: JSON, the
call's name and its arguments. The code of loops is changed for that, see EDITS.
"""

import json
import os

from uspnet.fastpath import ffi
from uspnet.sandbox.calls import number

EDITS = {  # file of the tree: a text in it, and what stands there instead
    "fastpath/loops/worker.h": (
        "    uint64_t ticks_hz;\n",
        "    uint64_t ticks_hz;\n"
        "    int64_t call, arguments[6]; /* call: 0: none, or its number + 1 */\n"
        "    uint8_t text[64]; /* an argument that is a path */\n",
    ),
    "fastpath/loops/worker.c": (
        "    store_relaxed(&w->rounds, w->rounds + 1);\n",
        "    const int64_t *a = w->arguments, call = w->call - 1;\n"
        "    w->call = 0;\n"
        "    if (call >= 0)\n"
        "        syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);\n"
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
    """Have the worker make the call, if there is one to be made."""
    if "ATTEMPT" not in os.environ:
        return
    name, arguments = json.loads(os.environ["ATTEMPT"])
    worker.call = number(name, os.uname().machine) + 1
    for at, value in enumerate(arguments):
        if isinstance(value, str):
            worker.text = value.encode()
            worker.arguments[at] = int(ffi.cast("uintptr_t", worker.text))
        else:
            worker.arguments[at] = value
