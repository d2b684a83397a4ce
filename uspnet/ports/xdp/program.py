# SPDX-License-Identifier: Apache-2.0
"""The XDP program of an `xdp:` port on its interface, and the map of its sockets."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from uspnet.errors import Busy, NotPermitted, NotSupported, UspnetError
from uspnet.kernel import bpf
from uspnet.kernel.interface import Interface

MODES = {  # where the program may run, by `mode=`; the best first
    "auto": ("native", "generic"),
    "zero-copy": ("native",),
    "copy": ("native",),
    "generic": ("generic",),
}
FINAL = {errno.EPERM, errno.EACCES, errno.EBUSY, errno.EEXIST}  # another way won't do either


class Program:
    """Attached from the start, until it is closed or the process has ended. It passes everything to
    the kernel's stack until sockets are set. `name`: of the port; `entries`: one more than the
    highest number of a queue; `frags`: frames may be in several pieces.

    `way`: where it runs, "native" or "generic". Raises UspnetError.
    """

    def __init__(
        self, name: str, interface: Interface, ways: Sequence[str], entries: int, frags: bool
    ) -> None:
        self.name, self.interface = name, interface
        self.map = self.link = -1
        self.way = ""
        try:
            self._attach(ways, entries, frags=frags)
        except BaseException:
            self.close()
            raise

    def _attach(self, ways: Sequence[str], entries: int, *, frags: bool) -> None:
        try:
            self.map = bpf.create_socket_map(entries)
            program = bpf.load(bpf.steering(self.map), frags=frags)
        except OSError as error:
            raise self._error("can't be loaded", error) from None
        try:
            self._link(program, ways)
        except OSError as error:
            raise self._error("can't be attached", error) from None
        finally:
            os.close(program)

    def _link(self, program: int, ways: Sequence[str]) -> None:
        for way in ways:
            try:
                self.link, self.way = bpf.attach(program, self.interface.index, way), way
            except OSError as error:
                if error.errno in FINAL or way == ways[-1]:
                    raise
            else:
                return

    def _error(self, what: str, error: OSError) -> UspnetError:
        name, scheme = self.interface.name, self.name.partition(":")[0]
        text = f"{self.name}: the XDP program {what}: {error.strerror}"
        if error.errno in {errno.EPERM, errno.EACCES}:
            return NotPermitted(text, "run as root, or with CAP_BPF and CAP_NET_ADMIN")
        if error.errno in {errno.EBUSY, errno.EEXIST}:
            text = f"{self.name}: another XDP program is attached to {name}"
            return Busy(text, f"see: bpftool net, and ip link show {name}")
        return NotSupported(text, f"try {scheme}:{name},mode=generic, or packet:{name}")

    def set_socket(self, queue: int, fd: int) -> None:
        """Steer what arrives on a queue to a socket. Raises OSError."""
        bpf.set_socket(self.map, queue, fd)

    def clear_socket(self, queue: int) -> None:
        """Leave what arrives on a queue to the kernel's stack. Raises OSError."""
        bpf.clear_socket(self.map, queue)

    def close(self) -> None:
        """Detach it."""
        for fd in (self.link, self.map):
            if fd >= 0:
                os.close(fd)
        self.link = self.map = -1
