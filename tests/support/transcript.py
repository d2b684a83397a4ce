# SPDX-License-Identifier: Apache-2.0
"""What a driver says to its device, by the names of its register tables."""

from __future__ import annotations

from collections.abc import Callable

from uspnet import register


def written(action: Callable[[], None], leave_out: tuple[str, ...] = ()) -> list[str]:
    """The registers that `action` writes, in order, as `CTRL` or `RDT[0]`; without those whose
    rows are named in `leave_out`.
    """
    lines: list[str] = []
    register.trace(lines.append)
    try:
        action()
    finally:
        register.trace(None)
    names = [words[1] for line in lines if (words := line.split())[3] == "←"]
    return [name for name in names if name.partition("[")[0] not in leave_out]
