# SPDX-License-Identifier: Apache-2.0
"""The XDP program of an `xdp:` port on its interface, and the map of its sockets."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from uspnet.errors import Busy, NoMemory, NotPermitted, NotSupported, UspnetError
from uspnet.kernel import bpf, netdev
from uspnet.kernel.interface import IFF_MASTER, Interface
from uspnet.packets.filter import ebpf
from uspnet.packets.filter.ebpf import CONTEXT
from uspnet.packets.filter.made import Filter
from uspnet.ports.xdp import tags
from uspnet.system import kept
from uspnet.system.privileges import lacking

NEEDS = ("CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF")
TO_FILTER = (*NEEDS, "CAP_PERFMON")  # by what is at a place that the frame itself says
MODES = {  # where the program may run, by `mode=`; the best first
    "auto": ("native", "generic"),
    "zero-copy": ("native",),
    "copy": ("native",),
    "generic": ("generic",),
}
TAKEN = {errno.EBUSY, errno.EEXIST}  # there is another program
FINAL = {errno.EPERM, errno.EACCES, *TAKEN}  # another way won't do either
ROOM = 256  # queues: there may be more of them when another version goes on with the map
LEAVING_S = 1.0  # for the program of a job that was killed to be gone
RETRY_S = 0.01


def ways_on(interface: Interface, name: str, mode: str) -> Sequence[str]:
    """Return where the program of the port `name` may run, the best first. That of a bond would run
    in the drivers of its ports, from where nothing gets to sockets of the bond's own. Raises
    NotSupported.
    """
    ways = MODES[mode]
    if not interface.flags & IFF_MASTER:
        return ways
    if "generic" not in ways:
        text = f"{name}: {interface.name} is a bond: its ports' drivers give its sockets nothing"
        hint = f"open its ports, as xdp:eth0 and xdp:eth1; or xdp:{interface.place},mode=generic"
        raise NotSupported(text, hint)
    return ["generic"]


def privileges_hint(needs: Sequence[str] = NEEDS) -> str:
    """Return which capabilities to give this process."""
    missing = lacking(needs)
    if not missing:
        return "a container or a security module forbids it, to root as well"
    return f"run as root, or with {' and '.join(missing)}"


@dataclass(frozen=True)
class Steering:
    """What a program is to do. `ways`: where it may run, the best first; `entries`: one more than
    the highest number of a queue; `frags`: frames may be in several pieces; `only`: a filter, of
    which it passes on what it does not accept.
    """

    ways: Sequence[str]
    entries: int
    frags: bool = False
    only: Filter | None = None


class Program:
    """Attached from the start, until it is closed or the process has ended. It passes everything to
    the kernel's stack until sockets are set. `name`: of the port. One that the version before has
    attached stays.

    `way`: where it runs, "native" or "generic"; `why`: the driver refused it, "": it did not.
    `asking`: its descriptor, if it asks for VLAN tags and puts them back; -1: it does not. Raises
    UspnetError.
    """

    def __init__(self, name: str, interface: Interface, steering: Steering) -> None:
        self.name, self.interface, self.steering = name, interface, steering
        self.map = self.link = self.asking = -1
        self.way = self.why = ""
        try:
            if not self._is_kept():
                self._attach()
        except BaseException:
            self.close()
            raise

    def _is_kept(self) -> bool:
        """Return whether the version before has left one, which it has told where it runs."""
        self.map = kept.take(f"{self.name} map")
        for way in self.steering.ways:
            if (link := kept.take(f"{self.name} {way}")) >= 0:
                self.link, self.way = link, way
        self.asking = kept.take(f"{self.name} tags")
        return self.link >= 0

    def held(self) -> dict[str, int]:
        """Return the descriptors with which another version goes on: see `Port.held`."""
        tells = {f"{self.name} tags": self.asking} if self.asking >= 0 else {}
        return {f"{self.name} map": self.map, f"{self.name} {self.way}": self.link} | tells

    @property
    def loss(self) -> str:
        """What is lost of frames; "": nothing is."""
        return tags.LOST if self.asking < 0 and self.interface.takes_tags_out() else ""

    def notices(self) -> Iterator[str]:
        """Return what the user should know about what is received."""
        if only := self.steering.only:
            yield f"{self.name}: takes {only.text!r}, and leaves the rest to the kernel"
        if self.loss:
            yield f"{self.name}: {self.loss}: {tags.remedy(self.interface.name)}"

    def _attach(self) -> None:
        try:
            self.map = bpf.create_socket_map(max(self.steering.entries, ROOM))
            if self._load_asking() and self._attach_asking():
                return
            program = bpf.load(self._code(), frags=self.steering.frags)
        except UspnetError:  # some are OSErrors, too
            raise
        except OSError as error:
            raise self._error("can't be loaded", error) from None
        try:
            self._link_in_time(program, self.steering.ways)
        finally:
            os.close(program)

    def _load_asking(self) -> bool:
        """Load the program that puts VLAN tags back, and return whether the kernel takes it."""
        index, ask = self.interface.index, 0
        if "native" in self.steering.ways and tags.offered(index):
            ask = tags.asking()
        if ask:
            code, frags = tags.program(self.map, self.steering.only, ask), self.steering.frags
            with suppress(OSError):  # then the other program says why, or works
                self.asking = bpf.load(code, frags=frags, device=index)
        return self.asking >= 0

    def _attach_asking(self) -> bool:
        """Attach it, and return whether the driver takes it."""
        try:
            self._link_in_time(self.asking, ["native"])
        except NotSupported:
            os.close(self.asking)
            self.asking = -1
        return self.asking >= 0

    def _code(self) -> bytes:
        if self.steering.only is None:
            return bpf.steering(self.map)
        return ebpf.program(self.steering.only, bpf.steering(self.map, CONTEXT), bpf.XDP_PASS)

    def _link_in_time(self, program: int, ways: Sequence[str]) -> None:
        """Attach a program as soon as a former job's has left."""
        end = time.monotonic() + LEAVING_S
        while True:
            try:
                self._link(program, ways)
            except OSError as error:
                if error.errno not in TAKEN or time.monotonic() > end:
                    raise self._error("can't be attached", error) from None
                time.sleep(RETRY_S)
            else:
                return

    def _link(self, program: int, ways: Sequence[str]) -> None:
        for way in ways:
            try:
                self.link, self.way = bpf.attach(program, self.interface.index, way), way
            except OSError as error:
                if error.errno in FINAL or way == ways[-1]:
                    raise
                self.why = error.strerror or ""
            else:
                return

    def _error(self, what: str, error: OSError) -> UspnetError:
        name, ip, place = self.interface.name, self.interface.ip, self.interface.place
        text = f"{self.name}: the XDP program {what}: {error.strerror}"
        if error.errno in {errno.EPERM, errno.EACCES}:
            needs = TO_FILTER if self.steering.only else NEEDS
            return NotPermitted(text, privileges_hint(needs))
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            return NoMemory(text, "see: ulimit -n")
        if error.errno in TAKEN:
            number = netdev.program(self.interface.index)
            known = f" (program {number})" if number else ""
            text = f"{self.name}: another XDP program{known} is attached to {name}"
            hint = "end the job that holds it, see: uspnet stats, bpftool link; where none does: "
            return Busy(text, f"{hint}{ip} link set dev {name} xdp off")
        return NotSupported(text, f"try xdp:{place},mode=generic, or packet:{place}")

    def set_socket(self, queue: int, fd: int) -> None:
        """Steer what arrives on a queue to a socket. Raises OSError."""
        bpf.set_socket(self.map, queue, fd)

    def clear_socket(self, queue: int) -> None:
        """Leave what arrives on a queue to the kernel's stack. Raises OSError."""
        bpf.clear_socket(self.map, queue)

    def close(self) -> None:
        """Detach it."""
        for fd in (self.link, self.map, self.asking):
            if fd >= 0:
                os.close(fd)
        self.link = self.map = self.asking = -1
