# SPDX-License-Identifier: Apache-2.0
"""Options of `memif:`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from uspnet.errors import Usage
from uspnet.pool import FRAME_MAX
from uspnet.ports.memif.access import users
from uspnet.spec import Options, Spec, choice, integer, option, seconds, string, switch

SECRET_BYTES = 24
PATH_BYTES = 107


@dataclass(frozen=True)
class MemifOptions(Options):
    """Both roles' options; what a client alone uses says so."""

    role: str = option(choice("client", "server"), "client", "client (connects) or server")
    id: int = option(integer(0, 2**32 - 1), 0, "interface number on the socket")
    secret: str = option(string(SECRET_BYTES), "", "password, at most 24 bytes", secret=True)
    secret_file: str = option(str, "", "file whose first line is the password")
    allow: frozenset[int] | None = option(
        users, None, "users the peer may run as, a+b; else any who can reach it (@name: all)"
    )
    ring: int = option(
        integer(2, 16384), 1024, "client: slots per ring, a power of two, 2 to 16384"
    )
    buffer: int = option(integer(128, 65536), 2048, "client without zero copy: bytes per slot")
    queues: int = option(integer(1, 64), 1, "queue pairs, 1 to 64")
    zero_copy: bool = option(
        switch, True, "client: share all packet buffers of the job, on or off (a copy each way)"
    )
    frame: int = option(integer(60, FRAME_MAX), FRAME_MAX, "longest frame in bytes, to 9728")
    wait: float | None = option(seconds, None, "seconds to wait for the peer at first, or forever")
    reconnect: bool = option(switch, True, "wait for a peer that left to come back, on or off")


def address_of(spec: Spec, options: MemifOptions) -> str:
    """Return the address of a socket: a path, or a zero byte and an abstract name. Raises Usage."""
    name, target = spec.target.partition("=")[0], spec.target
    if name in options.known() or not 0 < len(os.fsencode(target.lstrip("@"))) <= PATH_BYTES:
        raise Usage(
            f"{spec}: needs a socket path of up to {PATH_BYTES} bytes, or @name",
            "for example memif:/run/m.sock",
        )
    return target.replace("@", "\0", 1) if target[0] == "@" else target
