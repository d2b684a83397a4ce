# SPDX-License-Identifier: Apache-2.0
"""Errors for users: one family. Each has a hint, which is the next command to type."""

from __future__ import annotations

from collections.abc import Sequence

from uspnet.answer import Json


class UspnetError(Exception):
    """The base class. `kind` names the error under `--json`; `exit_code` is the process's.
    `partial`: what a job that it ended had done until then, as its result.
    """

    exit_code = 1
    partial: Json | None = None

    def __init__(self, message: str, hint: str = "", details: Sequence[str] = ()) -> None:
        self.lines = (message, *details)  # a line of its own for each, whatever stands in it
        self.message = "\n".join(self.lines)
        self.hint = hint
        super().__init__(self.message)

    @property
    def kind(self) -> str:
        """Return the class's name."""
        return type(self).__name__

    def as_dict(self) -> Json:
        """Return the object that `--json` prints: the error, and the result so far beside it."""
        error = {"error": self.kind, "message": self.message, "hint": self.hint}
        return {**error, **(self.partial or {})}


class Usage(UspnetError, ValueError):
    """The command line, a port spec or an option makes no sense."""

    exit_code = 2


class NoDevice(UspnetError, FileNotFoundError):
    """The NIC, interface, socket or file does not exist."""


class Busy(UspnetError):
    """Somebody else holds it."""


class Refused(UspnetError):
    """It could be done, and would do harm."""

    exit_code = 3


class NotPermitted(UspnetError, PermissionError):
    """A privilege is missing."""


class NotSupported(UspnetError):
    """The machine, device or peer can't do it."""


class Incompatible(NotSupported):
    """The job and another version of uspnet can't work on the same memory."""


class NoMemory(UspnetError, MemoryError):
    """There is not enough memory, or a limit forbids it."""


class DeviceTimeout(UspnetError, TimeoutError):
    """A device or peer did not answer in time."""


class DeviceFault(UspnetError):
    """A device, or the system call behind a port, failed."""


class LeftUnbound(DeviceFault):
    """A NIC could not be given back to its kernel driver, and now has none, or another."""


class PeerFault(UspnetError):
    """The program at the other end broke its protocol, refused us, or left."""


class Malformed(UspnetError, ValueError):
    """A file or a packet is not what it claims to be."""


class TooFew(UspnetError):
    """Fewer packets were handled than `--require` asks for."""


class Loss(UspnetError):
    """Packets were lost, and `--fail-on-loss` was given."""

    exit_code = 4
