# SPDX-License-Identifier: Apache-2.0
"""The order within each flow, as C knows it (fastpath/loops/flow_order.h)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from uspnet.fastpath.owned import Owned
from uspnet.jobs.returned import InFlows
from uspnet.memory import new

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import FlowOrder as CFlowOrder

PLACES = 1 << 20  # a power of two; a flow takes 64 bytes, and half of them find theirs at once


class FlowOrder:
    """What is known of the flows of so many streams. Raises NoMemory."""

    def __init__(self, streams: int) -> None:
        self._owned = Owned()
        self.c: CFlowOrder = new("struct flow_order *")
        self._counts = new("struct flow_order_counts[]", streams)
        self.c.flows = self._owned.keep(new("struct ordered_flow[]", PLACES))
        self.c.n_flows, self.c.counts = PLACES, self._counts
        self.c.seed = secrets.randbits(64)

    def result(self) -> InFlows:
        """Return the counts of all streams."""
        return InFlows(
            flows=sum(int(each.flows) for each in self._counts),
            reordered=sum(int(each.reordered) for each in self._counts),
            flows_reordered=sum(int(each.flows_reordered) for each in self._counts),
            unknown=sum(int(each.unknown) for each in self._counts),
        )

    def reordered(self, stream: int) -> int:
        """Return the packets of a stream that came after a later one of their flow."""
        return int(self._counts[stream].reordered)
