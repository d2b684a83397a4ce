# SPDX-License-Identifier: Apache-2.0
"""Where lines go: a terminal as wide as it is, or a stream that nobody breaks lines for."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from uspnet import __version__
from uspnet.answer import Json
from uspnet.text import printable

PLAIN_WIDTH = 200  # columns of a table, where no terminal sets them
INDENT = "  "
COMMAND = re.compile(r"(?<=:) (?=(?:uspnet|apt-get) )")  # what a sentence tells people to type


class PrintableConsole(Console):
    """A console that shows control characters in texts instead of obeying them: each text is one
    line. A `Text` is taken as it is.
    """

    def render_str(self, text: str, **how: Any) -> Text:
        """Make the text printable."""
        return super().render_str(printable(text), **how)

    def on_broken_pipe(self) -> None:
        """Leave it to the place that turns errors into exit codes."""
        raise  # noqa: PLE0704 - Rich calls this where it has caught one


def plain_console(*, stderr: bool = False) -> Console:
    """Make a console for texts that users chose: paths and port specs are neither markup nor emoji.

    Print lines with `soft_wrap=True`: the reader decides where they break.
    """
    console = PrintableConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def print_lines(console: Console, lines: Iterable[Text]) -> None:
    """Print lines that were made for the console's width."""
    for line in lines:
        console.print(line, soft_wrap=True)


def show_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Print each text on a line of its own, whatever is in it."""
    for line in lines:
        print(printable(line), file=file)


def show_prose(lines: Iterable[str]) -> None:
    """Print sentences on stdout. On a terminal they break between words, and a command that ends
    one stays in one piece, so that it can be copied.
    """
    width = columns_of(sys.stdout)
    show_lines(part for line in lines for part in (break_line(line, width) if width else [line]))


def break_line(text: str, width: int) -> list[str]:
    """Break an indented sentence between words, to lines of at most `width` columns."""
    if cell_len(text) <= width:
        return [text]
    indent = " " * (len(text) - len(text.lstrip(" ")))
    prose, *commands = COMMAND.split(text.strip(), maxsplit=1)
    parts = wrap_words(prose, width - len(indent + INDENT)) + commands
    return [indent + parts[0], *(indent + INDENT + part for part in parts[1:])]


def columns_of(stream: TextIO) -> int | None:
    """Return the width of the terminal that a stream goes to; None: it goes to none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except OSError:
        return None


def wrap_words(text: str, width: int) -> list[str]:
    """Break prose between words. A word that is longer than a line stays in one piece."""
    lines: list[str] = []
    for part in text.split("\n"):
        line = ""
        for word in part.split(" "):
            if line and cell_len(f"{line} {word}") > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines


def join_phrases(phrases: Sequence[str], width: int | None, indent: str = "") -> list[str]:
    """Join phrases by commas; lines break only between phrases, and go on after an indent."""
    lines: list[str] = []
    for number, phrase in enumerate(phrases):
        text = phrase + ("," if number < len(phrases) - 1 else "")
        if lines and (width is None or cell_len(f"{lines[-1]} {text}") <= width):
            lines[-1] += f" {text}"
        else:
            lines.append((indent or INDENT if lines else indent) + text)
    return lines


def chop(text: str, width: int) -> list[str]:
    """Break text that has no place to break, such as a path, into lines of at most `width`."""
    lines = [""]
    for character in text:
        if lines[-1] and cell_len(lines[-1] + character) > width:
            lines.append("")
        lines[-1] += character
    return lines


def print_json(result: Json) -> None:
    """Print one JSON object on a line of stdout."""
    print(json.dumps({"uspnet": __version__, **result}), file=sys.stdout, flush=True)
