# SPDX-License-Identifier: Apache-2.0
"""Choices that the command line and the jobs share; quick to import."""

from __future__ import annotations

from enum import StrEnum


class Poll(StrEnum):
    """How an idle worker waits for packets."""

    busy = "busy"
    adaptive = "adaptive"
    sleep = "sleep"


class OnFull(StrEnum):
    """What `fwd` does with packets that the other port has no room for."""

    drop = "drop"
    wait = "wait"
