# SPDX-License-Identifier: Apache-2.0
"""Fuzz target: the expression of --packet, which may be anything."""

from __future__ import annotations

import scapy.layers.all  # noqa: F401 - not among the seconds of the first input

from uspnet.errors import Usage
from uspnet.packets import craft as crafting
from uspnet.pool import FRAME_MAX

crafting.FRAMES_MAX = 64  # the bounds that a user meets, in less time


def one(data: bytes) -> None:
    """Craft what a text says: frames that fit a buffer, or a refusal with a hint."""
    try:
        made = crafting.craft(data.decode("utf-8", "surrogateescape"))
    except Usage as error:
        if not (error.message and error.hint):
            raise AssertionError("it doesn't say what to do") from error
        return
    assert 0 < len(made) <= crafting.FRAMES_MAX
    assert all(14 <= len(each.frame) <= FRAME_MAX for each in made)
