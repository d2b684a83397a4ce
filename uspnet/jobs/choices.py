# SPDX-License-Identifier: Apache-2.0
"""Choices and limits that the command line and the jobs share; quick to import."""

from __future__ import annotations

from enum import StrEnum

COUNT_MAX = 2**63 - 1  # packets; no run ever gets there
DURATION_MAX = 1e9  # seconds: 31 years


class Poll(StrEnum):
    """How an idle worker waits for packets."""

    busy = "busy"
    adaptive = "adaptive"
    sleep = "sleep"


class Sandbox(StrEnum):
    """Whether the process that runs the loops is in a sandbox."""

    off = "off"
    auto = "auto"  # with what this kernel can enforce
    require = "require"  # with all of it, or not at all


class OnFull(StrEnum):
    """What `fwd` and `reflect` do with packets that the other port has no room for."""

    drop = "drop"
    wait = "wait"


class Swap(StrEnum):
    """Which addresses `reflect` exchanges, each with those before it."""

    mac = "mac"
    ip = "ip"
    port = "port"


class Times(StrEnum):
    """What stands for a packet's time, by the letters of tshark -t."""

    r = "r"
    d = "d"
    a = "a"
    ad = "ad"
    u = "u"
    ud = "ud"
    e = "e"
