# SPDX-License-Identifier: Apache-2.0
"""What this process tells the service manager that started it, as sd_notify(3) defines it: it is
ready, it reads its configuration again, it is alive, it ends. Without a service manager, nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

SEND_S = 0.5  # how long a service manager that does not read may hold us up


class Notifier:
    """Sends notifications to the socket of `NOTIFY_SOCKET`.

    The variables are taken out of `environment`: what a child process says is not ours to say.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        values = os.environ if environment is None else environment
        names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        self.variables = {name: values.pop(name) for name in names if name in values}
        address, usec, pid = (self.variables.get(name, "") for name in names)
        self._address = _address_of(address)
        self._socket: socket.socket | None = None
        self._beat_s = _half(usec) if pid in {"", str(os.getpid())} and self._address else 0.0
        self._beat_at = 0.0
        self._status = ""
        self.is_ready = self.is_stopping = False
        self._connect()

    @property
    def period(self) -> float | None:
        """Seconds within which `alive` has to be called; None: nobody watches."""
        return self._beat_s or None

    def ready(self) -> None:
        """Tell once that the start is over."""
        if not self.is_ready:
            self.is_ready = True
            self._send("READY=1")

    def reloading(self) -> None:
        """Tell that the configuration is being read again, until `ready`."""
        self.is_ready = False
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Tell once that the end has begun. A signal handler may call it."""
        if not self.is_stopping:
            self.is_stopping = True
            self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Tell people in one line how things are, when that has changed."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self, is_well: Callable[[], bool] = lambda: True) -> None:
        """Tell that nothing hangs, at half of the time after which the service manager would act,
        if `is_well` says so. To be called at least that often; more often costs nothing.
        """
        now = time.monotonic()
        if self._beat_s and now - self._beat_at >= self._beat_s and is_well():
            self._beat_at = now
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        """Connect now: later, this process may have no access to paths."""
        if not self._address:
            return
        self.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sock.settimeout(SEND_S)
        try:
            sock.connect(self._address)
        except OSError:
            sock.close()
        else:
            self._socket = sock

    def _send(self, *lines: str) -> None:
        """Send one message. A service manager that was started anew has another socket; one that
        is gone is no error.
        """
        data = "\n".join(lines).encode(errors="replace")
        for _ in range(2):
            try:
                if self._socket:
                    self._socket.send(data)
                    return
            except TimeoutError:  # it is there, and does not read
                return
            except OSError:
                pass
            self._connect()


def _address_of(text: str) -> str:
    """Return the socket's address: a path, or an abstract name. "" for what is neither."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _half(usec: str) -> float:
    """Return half of a time in microseconds as seconds; 0 for a text that is none."""
    return int(usec) / 2e6 if usec.isascii() and usec.isdecimal() else 0.0
