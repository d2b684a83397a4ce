# SPDX-License-Identifier: Apache-2.0
"""What a job from the command line does for other processes of its user, and for root.

It listens on an abstract socket named after its process, of which nothing stays behind, and where
its user wants that, at a path as well, which other network namespaces reach, too. A client sends
one request and gets one answer, both JSON: `{"do": "upgrade", "with": PATH or null}`, for a cold
one with `"kind": "cold"`, or `"plan"` to learn what that would do; `{"do": "set", "table": "rules"
or "routes", "name": NAME}` with a sealed memfd that has the text of the file NAME. One that asks to
watch a port stays connected: see `watching`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass

from uspnet.answer import Json
from uspnet.errors import Usage, UspnetError
from uspnet.jobs.change import Wanted
from uspnet.jobs.upgrades import Request, Upgrades
from uspnet.jobs.watching import Watches
from uspnet.process.interpreter import interpreter
from uspnet.system import kept
from uspnet.system.listening import Listening
from uspnet.system.privileges import NONE, Capabilities, to_reach
from uspnet.system.processes import peer
from uspnet.system.sealed import read_sealed
from uspnet.telemetry.reaching import address
from uspnet.text import printable

REQUEST_BYTES = 16384  # a path and a little more
TABLE_BYTES = 1 << 26  # of a file of rules or routes
NAME_MAX = 200  # characters of its name that messages show
CLIENTS_MAX, BACKLOG = 8, 128
SILENCE_S = 5.0  # after which a client that asks nothing is dismissed
MODE = 0o600  # of the path
REST_S = 1.0  # before we accept again when there was no descriptor for a client
STRANGERS_S = 0.05  # and when all that came were others', who could keep us busy


@dataclass
class _Client:
    socket: socket.socket
    since: float
    request: Request | None = None


class Control:
    """The sockets and their clients. `path`: of another one than by the process's name; None: there
    is none. `trouble` says why nobody can connect by that name, if that is so. Raises as
    `Listening`.
    """

    def __init__(self, upgrades: Upgrades, watches: Watches, path: str | None = None) -> None:
        self.upgrades, self.watches, self.trouble = upgrades, watches, ""
        self._clients: list[_Client] = []
        self._rests_until = 0.0
        self._named = self._listening_by_name()
        self._chosen = _listening_at(path) if path else None
        self._listeners = [self._chosen.socket] if self._chosen else []
        if not self.trouble:
            self._listeners.append(self._named)

    def _listening_by_name(self) -> socket.socket:
        if (kept_fd := kept.take("control")) >= 0:
            return socket.socket(fileno=kept_fd)
        named = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            named.bind(address(os.getpid()))
            named.listen(BACKLOG)
        except OSError as error:
            name = address(os.getpid()).replace("\0", "@")
            self.trouble = f"the job can't be upgraded: socket {name}: {error.strerror}"
        named.setblocking(False)
        return named

    def keeps(self) -> Capabilities:
        """Return what it takes to remove the path from another user's folder."""
        if not self._chosen:
            return NONE
        return to_reach(os.path.dirname(self._chosen.address) or ".", os.W_OK)

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when `serve` has something to do."""
        silent = [client.socket.fileno() for client in self._clients if not client.request]
        silent += self.watches.fds()
        rests = len(self._clients) >= CLIENTS_MAX or time.monotonic() < self._rests_until
        return silent if rests else [*(each.fileno() for each in self._listeners), *silent]

    def serve(self) -> None:
        """Accept clients, take their requests and answer them."""
        for listener in self._listeners:
            self._accept(listener)
        for client in list(self._clients):
            if not client.request:
                self._read(client)
            if client.request and client.request.done.is_set():
                self._answer(client, _answer_to(client.request))
        self.watches.serve()

    def held(self) -> dict[str, int]:
        """Return the descriptors with which another version goes on: the sockets', and that of the
        client who has asked for it.
        """
        asker = [each for each in self._clients if self.upgrades.is_now(each.request)]
        held = {} if self.trouble else {"control": self._named.fileno()}
        held |= self._chosen.held() if self._chosen else {}
        return {**held, "client": asker[0].socket.fileno()} if asker else held

    def leave(self) -> None:
        """Have the path stay: another version goes on."""
        if self._chosen:
            self._chosen.leave()

    def close(self) -> None:
        """Answer who still waits; nobody can connect any more."""
        for client in list(self._clients):
            if client.request and client.request.departed:
                self._dismiss(client)
            elif client.request:
                client.request.done.wait()
                self._answer(client, _answer_to(client.request))
            else:
                client.socket.close()
        self.watches.close()
        self._named.close()
        if self._chosen:
            self._remove(self._chosen)

    def _remove(self, chosen: Listening) -> None:
        try:
            chosen.remove()  # before it is closed: another job could have taken a path without one
        except OSError as error:  # the run itself has not failed
            name = printable(chosen.address)
            self.upgrades.crew.notice(f"{name}: the socket stays: {error.strerror}")
        finally:
            chosen.socket.close()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BACKLOG):
            if len(self._clients) >= CLIENTS_MAX:
                return
            try:
                client = _Client(listener.accept()[0], time.monotonic())
            except BlockingIOError:
                return
            except OSError:
                self._rests_until = time.monotonic() + REST_S
                return
            if peer(client.socket)[1] in {0, os.geteuid()}:
                client.socket.setblocking(False)
                self._clients.append(client)
            else:
                client.socket.close()  # our own command has not tried
                self._rests_until = time.monotonic() + STRANGERS_S

    def _read(self, client: _Client) -> None:
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(
                client.socket, REQUEST_BYTES + 1, 1, socket.MSG_CMSG_CLOEXEC
            )
            client.request = self._begin(data, client, next(iter(fds), -1)) if data else None
        except BlockingIOError:
            if time.monotonic() < client.since + SILENCE_S:
                return
        except UspnetError as error:
            self._answer(client, error.as_dict())
            return
        except OSError:
            pass
        finally:
            for fd in fds:
                os.close(fd)
        if not client.request and client in self._clients:
            self._dismiss(client)

    def _begin(self, data: bytes, client: _Client, fd: int) -> Request | None:
        """Do what a request asks for. `fd`: what came with it, or -1. Raises Usage, and what
        `interpreter` and `watches` do.
        """
        try:
            asked = json.loads(data) if len(data) <= REQUEST_BYTES else None
        except (ValueError, RecursionError):
            asked = None
        match asked:
            case {"do": "upgrade", "with": path, "kind": "cold" | "plan" as kind}:
                return self.upgrades.ask(_interpreter(path), kind)
            case {"do": "upgrade", "with": path} if "kind" not in (asked or ()):
                return self.upgrades.ask(_interpreter(path))
            case {"do": "set", "table": "rules" | "routes" as table, "name": str(name)}:
                return self.upgrades.ask(
                    None, wanted=Wanted(table, printable(name, NAME_MAX), _text(fd))
                )
            case {"do": "watch"}:
                self.watches.begin(client.socket, asked or {})
                self._clients.remove(client)  # its connection is that of a watcher now
                return None
        raise _unknown()

    def _answer(self, client: _Client, answer: Json) -> None:
        with contextlib.suppress(OSError):  # it has left
            client.socket.send(json.dumps(answer).encode())
        self._dismiss(client)

    def _dismiss(self, client: _Client) -> None:
        self._clients.remove(client)
        client.socket.close()


def _listening_at(path: str) -> Listening:
    return Listening(path, MODE, "another folder", "choose another path", ours=True)


def _interpreter(path: object) -> list[str] | None:
    """Return the interpreter that a request names; None: our own. Raises Usage, and what
    `interpreter` does.
    """
    if path is None:
        return None
    if not isinstance(path, str) or path[:1] != "/" or "\0" in path:
        raise _unknown()
    try:
        os.fsencode(path)
    except UnicodeError:
        raise _unknown() from None
    return [interpreter(path)]


def _text(fd: int) -> str:
    """Return the text that came with a request. Raises Usage."""
    try:
        return read_sealed(fd, TABLE_BYTES).decode(errors="surrogateescape")
    except (OSError, ValueError):
        raise _unknown() from None


def _unknown() -> Usage:
    return Usage("this job does not know that order", "see: uspnet upgrade --help")


def _answer_to(request: Request) -> Json:
    if request.error:
        return request.error.as_dict()
    return {"answer": request.result.as_json() if request.result else {}}
