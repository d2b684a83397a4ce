# SPDX-License-Identifier: Apache-2.0
"""Who may connect: by user, as the kernel knows it, and by password."""

from __future__ import annotations

import pwd
import socket

from uspnet.errors import Usage
from uspnet.system.processes import peer


def peer_user(sock: socket.socket) -> int:
    """Return the user id of the process at the other end of a socket."""
    return peer(sock)[1]


def users(text: str) -> frozenset[int]:
    """Read user names and numbers, joined by `+`."""
    return frozenset(map(_user, text.split("+")))


def _user(word: str) -> int:
    if word.isascii() and word.isdigit():
        return int(word)
    try:
        return pwd.getpwnam(word).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {word!r}") from None


def password(name: str, path: str, given: str, longest: int) -> str:
    """Return the secret: as given, or the first line of a file. Raises Usage for both, or one that
    is too long.
    """
    if not path:
        return given
    if given:
        raise Usage(f"{name}: secret and secret-file", "give one of them")
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        secret = file.readline(longest + 2).rstrip("\n")
    if not 0 < len(secret.encode(errors="surrogateescape")) <= longest:
        raise Usage(f"{name}: {path}: its first line must have 1 to {longest} bytes")
    return secret
