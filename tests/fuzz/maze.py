# SPDX-License-Identifier: Apache-2.0
"""A target with a fault that chance would not find: one step at a time leads to it."""

from __future__ import annotations

from uspnet.errors import Usage
from uspnet.spec import parse


def one(data: bytes) -> None:
    """Fail for a spec of three options, each of one letter."""
    try:
        given = parse(data.decode("latin-1")).given
    except Usage:
        return
    assert len(given) < 3
