# SPDX-License-Identifier: Apache-2.0
"""Fuzz target: port specs, as far as they are read before a port is opened."""

from __future__ import annotations

from uspnet.errors import UspnetError
from uspnet.ports.registry import schemes
from uspnet.spec import HIDDEN, parse, shown

SECRET = "X9-what-nobody-may-see"


def one(data: bytes) -> None:
    """Parse a text and read its options; what is refused is refused with a hint."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        spec = parse(text, schemes())
        port = schemes().get(spec.scheme)
        spec.read(port.options.known() if port else {})
    except UspnetError as error:
        if not (error.message and error.hint):
            raise AssertionError("it doesn't say what to do") from error
    assert SECRET not in shown(f"memif:/s,secret={SECRET},{text}") or SECRET in text
    assert HIDDEN in shown(f"memif:/s,secret={SECRET},{text}")
