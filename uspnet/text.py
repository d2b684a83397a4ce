# SPDX-License-Identifier: Apache-2.0
"""Text from outside, made safe for a terminal; suggestions for mistyped words."""

from __future__ import annotations

from collections.abc import Iterable


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
