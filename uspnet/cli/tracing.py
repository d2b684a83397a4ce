# SPDX-License-Identifier: Apache-2.0
"""`uspnet fwd --trace FILTER`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uspnet.jobs.forward.trace import Tracing


def to_trace(text: str | None, count: int | None) -> Tracing | None:
    """Return what is to be traced; None: nothing. `count`: of `-c`. Raises Usage."""
    if text is None:
        return None
    from uspnet.jobs.forward.trace import PACKETS, Tracing
    from uspnet.packets.filter import choose_by

    return Tracing(count or PACKETS, choose_by(text) if text.strip() else None)
