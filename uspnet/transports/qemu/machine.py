# SPDX-License-Identifier: Apache-2.0
"""A private QEMU that runs no guest: a machine with one NIC, which ends with the port.

Nothing of it is on disk. Both its sockets are inherited, so it needs no path; it ends with the
process that started it, however that ends; its stderr goes into memory.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from uspnet.answer import Json
from uspnet.errors import DeviceFault, DeviceTimeout, NoDevice, NotSupported, UspnetError
from uspnet.fastpath import ffi, lib
from uspnet.system import children, privileges, streams
from uspnet.text import printable
from uspnet.transports.qemu.cable import End

BINARY = "qemu-system-x86_64"
INSTALL = "apt-get install qemu-system-x86"
APT = Path("/etc/apt")
BACKPORTS = ("bookworm",)  # releases of Debian whose own QEMU lacks models
DIMM_ADDRESS = 1 << 32  # where a q35 machine of a few MiB puts its first memory module
DIMM_STEP = 1 << 30  # modules begin at whole GiB, whatever their pages
SLOT = 4  # of the NIC on the machine's PCI bus
ANSWER_S = 15.0
LINE_MAX = 1 << 16  # bytes of an answer
ERROR_MAX = 500  # characters of QEMU's that are shown
ERRORS_BYTES = 1 << 20  # of its complaints, and of any other file that it could write to
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
SANDBOX_WORDS = ("-sandbox", "seccomp")  # in the complaint of one that can't have it
# The CPU's firmware: halt at reset, and halt again after whatever wakes it.
ROM_BYTES = 65536
RESET = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to hlt
ROM = b"\xf4" * (ROM_BYTES - 16) + RESET.ljust(16, b"\xf4")


def binary() -> str:
    """Return the QEMU to start: $USPNET_QEMU, or the one in the path. Raises NoDevice, Refused."""
    wanted = os.environ.get("USPNET_QEMU", BINARY)
    found = children.find_program(wanted)
    if not found:
        other = "" if wanted == BINARY else ", and unset USPNET_QEMU, or give its absolute path"
        raise NoDevice(f"{wanted} is not installed", f"run: {INSTALL}{other}")
    return found if wanted == BINARY else children.chosen_program(found)


def upgrade() -> str:
    """Return the command that installs a newer QEMU than this system's own."""
    name = ""
    with contextlib.suppress(OSError):
        name = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    if name not in BACKPORTS:
        return f"{INSTALL}, or a newer one of another source"
    suite, known = f"{name}-backports", False
    for path in (APT / "sources.list", *(APT / "sources.list.d").glob("*")):
        with contextlib.suppress(OSError):
            known = known or suite in path.read_text(errors="replace")
    return f"{INSTALL} -t {suite}" + ("" if known else " (add these to APT's sources first)")


def memory_file(name: str, content: bytes = b"") -> int:
    """Return the descriptor of an unnamed file, which lives as long as it."""
    fd = os.memfd_create(name)
    os.write(fd, content)
    return fd


class Machine:
    """One QEMU. `device` is the NIC's `-device` argument, which QEMU knows since version `since`;
    `cable` is what its NIC is plugged into, None: nothing.
    """

    slot = SLOT

    def __init__(self, name: str, device: str, since: str, cable: End | None) -> None:
        self.name = name
        self.device, self.since, self.cable = device, since, cable
        self.wire_fd = cable.fds[0] if cable else -1
        self.modules, self.module_at = 0, DIMM_ADDRESS  # how many are plugged, and the next one's
        self.user = privileges.nobody(binary())  # the user that QEMU runs as; 0: our own
        self.sandbox = SANDBOX
        try:
            self._start()
        except DeviceFault as error:
            if not any(word in error.message for word in SANDBOX_WORDS):
                raise
            self.sandbox = ""  # a QEMU, or a kernel, without seccomp
            self._start()

    @property
    def how(self) -> str:
        """Return in words which privileges QEMU has beyond what it needs."""
        said = [] if self.sandbox else ["QEMU has no sandbox"]
        if os.geteuid() == 0 and not self.user:
            said.append("QEMU runs as root, without capabilities")
        return "; ".join(said)

    def _start(self) -> None:
        """Start QEMU, and wait until its monitor answers."""
        self.errors = memory_file("uspnet-qemu-stderr")
        self.qtest, qtest_end = socket.socketpair()
        self.monitor, monitor_end = socket.socketpair()
        rom = memory_file("uspnet-rom", ROM)
        fds = [rom, qtest_end.fileno(), monitor_end.fileno()]
        how = ffi.new("struct child *", (self.user, os.getpid(), ERRORS_BYTES))
        null = streams.null()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - a list of our own words
                [binary(), *self._command(*fds)],
                stdin=null,
                stdout=null,
                stderr=self.errors,
                cwd="/",
                env=children.environment(),
                pass_fds=[*fds, *(self.cable.fds if self.cable else [])],
                start_new_session=True,  # Ctrl-C is for us; we end it ourselves
                preexec_fn=functools.partial(lib.child_begin, how),  # noqa: PLW1509 - async-safe
            )
        except BaseException:
            self._close_ends()
            raise
        finally:
            os.close(null)
            os.close(rom)
            qtest_end.close()
            monitor_end.close()
        self._received = b""
        try:
            self._connect_monitor()
        except BaseException:
            self.close()
            raise

    def _command(self, rom: int, qtest: int, monitor: int) -> list[str]:
        nic = f"{self.device},id=nic,addr={SLOT}"
        cable = []
        if self.cable:
            cable = ["-netdev", f"{self.cable.netdev},id=wire"]
            nic += ",netdev=wire"
        words = "-nodefaults -no-user-config -display none -machine q35 -m 2M,slots=2,maxmem=256G"
        return [
            *words.split(),
            *(("-sandbox", self.sandbox) if self.sandbox else ()),
            *("-accel", "tcg,tb-size=1", "-bios", f"/proc/self/fd/{rom}"),
            *("-chardev", f"socket,id=qtest,fd={qtest}"),
            *("-object", "qtest,id=server,chardev=qtest,log=none"),
            *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "monitor,mode=control"),
            *cable,
            *("-device", nic),
        ]

    def _connect_monitor(self) -> None:
        """Wait for the monitor's greeting, which comes once QEMU has read its command line."""
        self._recv_line(time.monotonic() + ANSWER_S)
        self.monitor_command("qmp_capabilities")

    def _recv_line(self, end: float) -> Json:
        """Return one line of the monitor, before `end`. Raises DeviceTimeout, DeviceFault."""
        while b"\n" not in self._received and len(self._received) < LINE_MAX:
            self.monitor.settimeout(max(end - time.monotonic(), 0.001))
            try:
                more = self.monitor.recv(4096)
            except TimeoutError:
                raise DeviceTimeout(f"{self.name}: QEMU did not answer in {ANSWER_S:g} s") from None
            except OSError:
                more = b""
            if not more:
                raise self._closed()
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise self._invalid_answer() from None

    def monitor_command(
        self, command: str, arguments: Json | None = None, fds: tuple[int, ...] = ()
    ) -> Any:
        """Run one QMP command and return its result. Raises DeviceFault when QEMU refuses it."""
        text = json.dumps({"execute": command, "arguments": arguments or {}}).encode()
        try:
            socket.send_fds(self.monitor, [text], fds)
        except OSError:
            raise self._closed() from None
        end = time.monotonic() + ANSWER_S
        while True:
            answer = self._recv_line(end)
            if "error" in answer:
                said = answer["error"]
                text = said.get("desc", "") if isinstance(said, dict) else said
                raise DeviceFault(f"{self.name}: QEMU: {printable(str(text), ERROR_MAX)}")
            if "return" in answer:
                return answer["return"]  # anything else is an event
            if time.monotonic() > end:
                raise DeviceTimeout(f"{self.name}: QEMU did not answer in {ANSWER_S:g} s")

    def plug(self, fd: int, size: int) -> int:
        """Add shared memory as a memory module, and return its address. Modules begin at
        DIMM_ADDRESS, so that no part of a PC's memory map (holes, firmware, the 4 GiB border) lies
        in one.
        """
        number, address = self.modules, self.module_at
        self.modules, self.module_at = number + 1, address + -(-size // DIMM_STEP) * DIMM_STEP
        theirs = self.monitor_command("add-fd", fds=(fd,))
        if not isinstance(theirs, dict) or not isinstance(theirs.get("fd"), int):
            raise self._invalid_answer()
        path = f"/proc/self/fd/{theirs['fd']}"
        backend = {"qom-type": "memory-backend-file", "mem-path": path, "size": size}
        self.monitor_command("object-add", {**backend, "id": f"memory{number}", "share": True})
        module = {"driver": "pc-dimm", "memdev": f"memory{number}", "addr": address}
        self.monitor_command("device_add", {**module, "id": f"module{number}"})
        return address

    def plug_cable(self, *, on: bool) -> None:
        """Set the link state of the NIC."""
        self.monitor_command("set_link", {"name": "nic", "up": on})

    def _invalid_answer(self) -> UspnetError:
        return DeviceFault(f"{self.name}: what QEMU's monitor says makes no sense")

    def _closed(self) -> UspnetError:
        return self.ended(1.0) or DeviceFault(f"{self.name}: QEMU closed its monitor")

    def ended(self, patience_s: float = 0.0) -> UspnetError | None:
        """Return why QEMU has ended, as an error; None while it runs."""
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return None
        last = os.pread(self.errors, 4096, 0).decode(errors="replace").strip().splitlines()[-1:]
        if code < 0:
            why = f"it was killed by signal {-code}"
        else:
            why = last[0].removeprefix(f"{BINARY}: ") if last else f"exit status {code}"
            why = printable(why, ERROR_MAX)
        if "not a valid device model" in why:
            model = self.device.split(",")[0]
            return NotSupported(
                f"{self.name}: this QEMU has no {model}",
                f"it takes QEMU {self.since} or newer: {upgrade()}",
            )
        return DeviceFault(
            f"{self.name}: QEMU has ended: {why}", "run it once more, or see: uspnet doctor"
        )

    def _close_ends(self) -> None:
        self.qtest.close()
        self.monitor.close()
        os.close(self.errors)

    def close(self) -> None:
        """Kill QEMU: it has no state to save."""
        self.process.kill()
        self.process.wait()
        self._close_ends()
