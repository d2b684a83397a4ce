# SPDX-License-Identifier: Apache-2.0
"""Text from outside, made safe for a terminal; suggestions for mistyped words; MAC addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAC_BYTE = re.compile("[0-9a-fA-F]{1,2}")


def printable(text: str, longest: int = 0) -> str:
    r"""Return the text with escapes such as `\x1b` for control characters, characters that reorder
    or hide others, line breaks, and bytes that are not UTF-8. `longest`: characters after which it
    is cut; 0: never.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escape(c) for c in text)
    return f"{text[: longest - 1]}…" if 0 < longest < len(text) else text


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def did_you_mean(word: str, known: Iterable[str], form: str = "{}") -> str:
    """Return `did you mean --rate?` with the known word that is nearest, or "". `form` shows it."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes alone

    nearest = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {form.format(nearest[0])}?" if nearest else ""


def read_mac(text: str) -> bytes:
    """Read a MAC address, `02:00:00:00:00:01` or with hyphens, as six bytes. Raises ValueError."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(MAC_BYTE.fullmatch(part) for part in parts):
        raise ValueError("must be six bytes such as 02:00:00:00:00:01")
    return bytes(int(part, 16) for part in parts)
