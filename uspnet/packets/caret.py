# SPDX-License-Identifier: Apache-2.0
"""A text that somebody wrote, with a caret under what is wrong in it, for messages."""

from __future__ import annotations

import ast
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from uspnet.text import printable

WIDTH = 64  # columns of the text that are shown
BEFORE = 32  # of them, before what is wrong, at least, where the text is cut
INDENT = "    "


class Span(NamedTuple):
    """The characters of a text from `start` on, and before `end`."""

    start: int
    end: int


def span_of(node: ast.expr | ast.keyword, text: str) -> Span:
    """Return where a node of a syntax tree stands in the text that it was parsed from, whose lines
    end with line feeds alone: of a keyword, its name.
    """
    start = _offset(text, node.lineno, node.col_offset)
    if isinstance(node, ast.keyword):
        return Span(start, start + len(node.arg or "**"))
    return Span(start, _offset(text, node.end_lineno or 1, node.end_col_offset or 0))


def span_at(error: SyntaxError, text: str) -> Span | None:
    """Return where Python's parser found an error; None: it doesn't say."""
    if not error.lineno or not error.offset:
        return None
    start = _line(text, error.lineno) + error.offset - 1
    end = _line(text, error.end_lineno or 1) + (error.end_offset or 0) - 1
    return Span(start, max(start + 1, end))


def pointed(text: str, span: Span) -> tuple[str, str]:
    """Return two lines: the text, or a part of it, as one line that a terminal can show; and a
    caret under where the span begins, with `~` under the rest of it.
    """
    cells = [printable(each) for each in text]
    widths = [_columns(each) for each in cells]
    start, end = min(span.start, len(text)), min(span.end, len(text))
    first, last = 0, len(text)
    if sum(widths) > WIDTH:
        before = max(BEFORE, WIDTH - sum(widths[start:]))
        first = start - _fitting(widths[:start][::-1], before - 1)
        fits = sum(widths[first:]) < WIDTH
        last = last if fits else first + _fitting(widths[first:], WIDTH - 2)
    left, right = "…" * (first > 0), "…" * (last < len(text))
    caret = " " * (len(left) + sum(widths[first:start])) + "^"
    caret += "~" * (sum(widths[start : min(end, last)]) - 1)
    return INDENT + left + "".join(cells[first:last]) + right, INDENT + caret


def _fitting(widths: Sequence[int], columns: int) -> int:
    """Return how many characters, the first ones of such widths, fit into so many columns."""
    for number, width in enumerate(widths):
        columns -= width
        if columns < 0:
            return number
    return len(widths)


def _columns(text: str) -> int:
    """Return the columns of a terminal that a printable text takes."""
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def _offset(text: str, line: int, octets: int) -> int:
    """Return the character that is so many bytes of UTF-8 behind the start of a line."""
    first = _line(text, line)
    return first + len(text[first:].encode()[:octets].decode(errors="ignore"))


def _line(text: str, line: int) -> int:
    """Return the first character of a line, counted from 1."""
    return sum(len(each) + 1 for each in text.split("\n")[: line - 1])
