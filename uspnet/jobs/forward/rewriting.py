# SPDX-License-Identifier: Apache-2.0
"""`fwd --set`: packets are rewritten once a mode has decided where they leave, see
`fastpath/loops/rewriting.h`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from uspnet.fastpath import c, ffi
from uspnet.jobs.forward.result import SetCount
from uspnet.jobs.forward.trace import take_apart
from uspnet.packets.fields.rewrite import Rewrite

if TYPE_CHECKING:
    from uspnet.jobs.forward.mode import Mode


class Rewriting:
    """What one loop rewrites. Raises NotSupported for a loop that can't."""

    def __init__(self, loop: Mode, wanted: Rewrite, *, mirrors: bool) -> None:
        take_apart(loop, "--set")
        self.c = cast("c.RewriteField", wanted.make())
        loop.forward.fields = ffi.cast("struct field *", self.c)
        loop.forward.mirrors = mirrors


def counted(wanted: Rewrite, loops: Sequence[Rewriting]) -> tuple[SetCount, ...]:
    """Return for each field that is set how many packets had it."""
    seen = sum(int(loop.c.seen) for loop in loops)
    found = [
        (each.text, sum(int(loop.c.sets[number].packets) for loop in loops))
        for number, each in enumerate(wanted.in_order())
    ]
    if wanted.tagging:
        found.insert(0, (wanted.tagging, sum(int(loop.c.tagged) for loop in loops)))
    return tuple(SetCount(set=text, packets=n, without=seen - n) for text, n in found)
