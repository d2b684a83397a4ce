# SPDX-License-Identifier: Apache-2.0
"""Neighbors that the kernel is to resolve, each as often as it should and no more."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass

from uspnet.jobs.forward.routes import shown

DISCARD = 9  # the UDP port of what nobody reads (RFC 863)
FIRST_S, LAST_S = 1.0, 16.0  # between two datagrams to a neighbor that does not answer
REFRESH_S = 30.0  # between two to a gateway that does, so that the kernel sees when it goes away
FORGET_S = 60.0  # after the last packet to a neighbor on a link
SILENT = 3  # unanswered so often, it is told
NEIGHBORS_MAX, TURN_MAX = 1024, 8  # at once, and datagrams in one turn

Who = tuple[int, bytes]  # a port's number, and an address there


@dataclass
class Asked:
    """How a neighbor is asked for. Times are those of a monotonic clock, in seconds."""

    wanted: float
    due: float
    times: int = 0  # without an answer


class Asking:
    """Sends a datagram without content to a neighbor, so that the kernel resolves its address: that
    takes no privilege. `names`: of the interfaces, by the port's number.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.silent: tuple[Who, ...] = ()  # who does not answer; other threads may read it
        self._asked: dict[Who, Asked] = {}

    def turn(
        self, gateways: Collection[Who], missed: Collection[Who], known: Container[Who], now: float
    ) -> None:
        """Ask for those that are due. `missed`: to whom packets were dropped since the last turn;
        `known`: who has answered.
        """
        if len(self._asked) + len(missed) > NEIGHBORS_MAX:
            missed = random.sample([*missed], len(missed))  # all have their chance of the room
        room = True
        for who in (*gateways, *missed):
            room = room and (who in self._asked or self._has_room(gateways))
            if room or who in self._asked:
                self._asked.setdefault(who, Asked(now, now)).wanted = now
        left = TURN_MAX
        for who, asked in list(self._asked.items()):
            if now > asked.wanted + FORGET_S or (who in known and who not in gateways):
                del self._asked[who]
                continue
            if who in known and asked.times:
                asked.times, asked.due = 0, now + REFRESH_S
            if left and asked.due <= now == asked.wanted:
                left -= 1
                self._ask(*who)
                asked.times += who not in known
                wait = FIRST_S * 2 ** min(asked.times - 1, 10)
                asked.due = now + (REFRESH_S if who in known else min(wait, LAST_S))
        silent = [who for who, asked in self._asked.items() if asked.times >= SILENT]
        self.silent = tuple(silent)

    def _has_room(self, gateways: Collection[Who]) -> bool:
        """Return whether one more may be asked for: whoever was asked in vain first makes room, so
        that a sweep over addresses that nobody has keeps no others out.
        """
        if len(self._asked) < NEIGHBORS_MAX:
            return True
        vain = (who for who, asked in self._asked.items() if asked.times and who not in gateways)
        out = next(vain, None)
        if out:
            del self._asked[out]
        return bool(out)

    def _ask(self, port: int, address: bytes) -> None:
        """Send such a datagram. What keeps it from being sent keeps packets from there, too."""
        kind = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        name = os.fsencode(self.names[port])
        with contextlib.suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)  # on this link, in any case
            sock.sendto(b"", (shown(address), DISCARD))

    def text(self, who: Who) -> str:
        """Return a neighbor's address, and the interface that it is behind."""
        port, address = who
        return f"{shown(address)} at {self.names[port]}"
