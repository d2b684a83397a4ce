# SPDX-License-Identifier: Apache-2.0
"""Why a memif peer refuses a connection, in the words of VPP, libmemif, DPDK and uspnet."""

from __future__ import annotations

import re
from dataclasses import dataclass

from uspnet.errors import PeerFault
from uspnet.ports.memif.protocol import Disconnect


@dataclass(frozen=True)
class Refusal:
    """A reason: how peers put it, what the user can do, and whether it may pass by itself."""

    words: re.Pattern[str]
    hint: str
    passes: bool = False  # a server that is starting, or is busy


def refusal(words: str, hint: str, *, passes: bool = False) -> Refusal:
    """Make a row of the table."""
    return Refusal(re.compile(words, re.IGNORECASE), hint, passes)


OTHER = "see whether the other program still runs"
REFUSALS = (
    refusal(
        "id not found|unmatched interface id|invalid interface id",
        "the server has other ids: set id=",
        passes=True,
    ),
    refusal("secret required|no secret|missing secret", "set secret= or secret-file="),
    refusal("(incorrect|wrong|invalid|unmatched) secret", "set the server's secret with secret="),
    refusal(
        "already connected",
        "the server has a client with this id: set another id=",
        passes=True,
    ),
    refusal(
        "cannot connect to s",  # "slave", and as libmemif writes it, "salve"
        "the other side is a client too: set role=server here, or make it the server (master)",
    ),
    refusal(
        "mode mismatch|ethernet mode|mode not supported",
        "uspnet speaks Ethernet: give the server's interface mode ethernet",
    ),
    refusal(
        "version", "the other side speaks another memif than 2.0: see whether there is a newer one"
    ),
    refusal(
        "too many connections|handshake took too long",
        "the server is busy with other clients: try again, or raise wait=",
        passes=True,
    ),
    refusal(
        "user not allowed", "the server's allow= does not name this user: run as one that it names"
    ),
    refusal(
        "interface (deleted|disabled|down|closed|is disconnected)|device (closed|error)|"
        "admin down|disabled by user",
        "the other side took its interface down: bring it up there",
        passes=True,
    ),
    refusal("private header|header size", "the other side needs a private header; not supported"),
    refusal(
        "too many rings|ring index|maximum number of rings|num_[sm]2[sm]",
        "the server has fewer queues: set a smaller queues=",
    ),
    refusal("ring size|log2", "the server wants other rings: set ring= as the server has it"),
    refusal(
        "too many regions|region index|maximum number of (memory )?regions|two regions",
        "the server supports one memory region: set zero-copy=off",
    ),
    refusal(
        "region|mmap|memory|cookie|wrong ring",
        "the other side can't use this memory: set zero-copy=off, or smaller rings with ring=",
    ),
    refusal(
        "interrupt fd|int_fd|descriptor|too many open files|eventfd",
        "the other side lacks file descriptors: raise its ulimit -n, or set a smaller queues=",
    ),
    refusal("^the peer ", OTHER, passes=True),  # closed or reset without a word
)


def find(reason: str) -> Refusal:
    """Return what is known about a peer's reason for disconnecting."""
    return next((row for row in REFUSALS if row.words.search(reason)), refusal("", OTHER))


def fault(name: str, error: Disconnect) -> PeerFault:
    """Return a disconnect as the error of the port of that name, with what the user can do."""
    return PeerFault(f"{name}: {error.message}", find(error.message).hint)


def absent_hint(target: str, *, server: bool) -> str:
    """Return what to do when the other side does not come."""
    if server:
        return "start the client, or raise wait="
    return f"start the server first: uspnet capture memif:{target},role=server"
