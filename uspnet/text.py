# SPDX-License-Identifier: Apache-2.0
"""Text from outside, made fit for a terminal."""

from __future__ import annotations


def printable(text: str, longest: int = 0) -> str:
    r"""The text with everything visible: control characters, characters that reorder or hide
    others, line breaks and bytes that are no UTF-8 become escapes, as `\x1b`. `longest`: cut
    after so many characters; 0: never.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _escape(c) for c in text)
    return f"{text[: longest - 1]}…" if 0 < longest < len(text) else text


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
