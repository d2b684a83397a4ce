# SPDX-License-Identifier: Apache-2.0
"""dpdk-devbind.py's own judgement: its code runs on a machine that a test supplies."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

PROGRAM = "/usr/bin/dpdk-devbind.py"  # Debian's package dpdk


def installed():
    return Path(PROGRAM).exists()


def active(root="/", answer=subprocess.check_output):
    """The addresses that it calls *Active*: it won't unbind these without --force, and takes every
    other one. `root` holds the machine's `sys`; `answer` runs `lspci` and `ip` there.
    """
    source = Path(PROGRAM).read_text().replace('"/sys/', f'"{root.rstrip("/")}/sys/')
    module = types.ModuleType("devbind")
    exec(compile(source, PROGRAM, "exec"), module.__dict__)
    module.subprocess = types.SimpleNamespace(check_output=answer)
    module.get_device_details(module.network_devices)
    return sorted(name for name, found in module.devices.items() if found["Active"])


if __name__ == "__main__":
    sys.stdout.write("\n".join(active()))
