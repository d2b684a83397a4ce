# SPDX-License-Identifier: Apache-2.0
"""How the socket of an `xdp:` port is made, and bound to its queue: in the best way that works, as
soon as a former socket has left the queue.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from uspnet.errors import Busy, NoMemory, NotPermitted, NotSupported, UspnetError
from uspnet.kernel import xsk
from uspnet.kernel.interface import Interface
from uspnet.ports.xdp.program import privileges_hint

BIND_S = 2.0  # for a socket that was closed to leave its queue
RETRY_S = 0.01
FINAL = {errno.EBUSY, errno.ENETDOWN, errno.ENODEV}  # another way won't do either
NO_MEMORY = {errno.ENOBUFS, errno.ENOMEM, errno.EPERM}


def open_socket(name: str, interface: Interface, *, busily: bool) -> xsk.XdpSocket:
    """Return a socket for the port `name`. Raises NotPermitted, NoMemory, NotSupported."""
    try:
        sock = xsk.XdpSocket()
        if busily:
            sock.poll_busily()
    except PermissionError:
        raise NotPermitted(f"{name}: AF_XDP sockets are not permitted", privileges_hint()) from None
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            raise NoMemory(f"{name}: {error.strerror}", "see: ulimit -n") from None
        raise NotSupported(
            f"{name}: AF_XDP: {error.strerror}", f"use packet:{interface.place}"
        ) from None
    return sock


@dataclass(frozen=True)
class Place:
    """A queue of an interface, for the port `name`. `flags`: of bind, in every way."""

    name: str
    interface: Interface
    queue: int
    flags: int

    def bind(self, sock: xsk.XdpSocket, ways: Sequence[int]) -> str:
        """Bind a socket. `ways`: more flags, the best first. Return why the first of them was not
        taken; "": it was. Raises UspnetError.
        """
        end, why, at = time.monotonic() + BIND_S, "", 0
        while True:
            try:
                sock.bind(self.interface.index, self.queue, ways[at] | self.flags)
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < end:
                    time.sleep(RETRY_S)
                elif at + 1 < len(ways) and error.errno not in FINAL:
                    why, at = why or os.strerror(error.errno or 0), at + 1
                else:
                    raise self._error(ways[at], error) from None
            else:
                return why

    def _error(self, way: int, error: OSError) -> UspnetError:
        name = self.interface.name
        where = f"{self.name}: queue {self.queue} of {name}"
        match error.errno:
            case errno.EBUSY:
                return Busy(f"{where} has another AF_XDP socket", "see: ss -p -A xdp")
            case errno.ENETDOWN:
                return self.interface.down_error()
            case errno.ENODEV:
                return self.interface.gone_error()
        if way == xsk.ZERO_COPY:
            text = f"{self.name}: the driver has no zero copy here: {error.strerror}"
            return NotSupported(text, f"write mode=copy; see: ethtool -i {name}")
        hint = f"use packet:{self.interface.place}"
        if self.flags & xsk.SEVERAL_BUFFERS:
            hint += f"; or, before Linux 6.6: {self.interface.ip} link set dev {name} mtu 1500"
        return NotSupported(f"{where}: {error.strerror}", hint)


def memory_error(name: str, interface: Interface, error: OSError) -> UspnetError:
    """Return the error for packet memory, or rings of a socket, that the kernel refuses."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return NoMemory(f"{name}: {error.strerror}", "see: ulimit -n")
    if error.errno in NO_MEMORY:
        return NoMemory(
            f"{name}: the packet memory can't be locked: {error.strerror}",
            "raise the limit: ulimit -l unlimited; or give CAP_IPC_LOCK",
        )
    text = f"{name}: the packet memory can't be shared with the kernel: {error.strerror}"
    return NotSupported(text, f"use packet:{interface.place}")
