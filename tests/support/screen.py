# SPDX-License-Identifier: Apache-2.0
"""Lines made for a terminal of a width: nothing in them is cut, and nothing that belongs together
is broken.
"""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.text import Text

WIDTHS = [60, 80, 120]
HEIGHT = 24


def rendered(lines, width):
    """The lines as they stand on a terminal of that width."""
    console = Console(width=width, height=HEIGHT, file=io.StringIO(), record=True, highlight=False)
    for line in lines:
        console.print(line, markup=False, emoji=False)
    return console.export_text().splitlines()


def check(lines, width, wanted=(), alone=()):
    """Nothing is cut or broken. `alone`: texts that may be longer than a line of their own."""
    texts = [line.plain if isinstance(line, Text) else line for line in lines]
    for text in texts:
        assert "…" not in text, text
        assert "..." not in text, text
        if text.strip() not in alone:
            assert len(text) <= width, f"{len(text)} of {width} columns: {text}"
    fitting = [line for line, text in zip(lines, texts, strict=True) if len(text) <= width]
    assert rendered(fitting, width) == [t.rstrip() for t in texts if len(t) <= width]
    for word in wanted:
        assert any(word in text for text in texts), f"{word!r} is not in\n" + "\n".join(texts)
    for number in re.findall(r"\d[\d,]{6,}\d", "\n".join(texts)):
        assert re.fullmatch(r"\d{1,3}(,\d{3})*|\d+", number), f"{number} is a part of one"
    return texts
