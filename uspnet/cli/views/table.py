# SPDX-License-Identifier: Apache-2.0
"""Tables that fit: no number, name or heading is cut or wrapped, however narrow the terminal.

The first of these layouts is taken that fits: rows and columns; columns as rows, where there are
few rows; a block a row, with its values below each other; a block with its values in a sentence.
Only columns of prose wrap, between words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from uspnet.cli.views.console import INDENT, join_phrases, wrap_words

GAP = 2  # columns between two cells
PROSE_MIN = 24  # columns that prose needs beside others
EMPTY = frozenset({"", "-"})
ZERO = frozenset({"0", "0 pps", "0.0 %"})
HEAD = "bold"

Layout = Callable[["Table", int], list[Text] | None]


@dataclass(frozen=True)
class Column:
    """One column. `right`: numbers; `prose`: may wrap; `always`: shown even when it is empty;
    `styles`: of cells, by their text.
    """

    heading: str
    right: bool = False
    prose: bool = False
    always: bool = False
    styles: Mapping[str, str] = field(default_factory=dict)

    def says(self, cell: str) -> bool:
        """Is there something to show?"""
        return self.always or not (cell in EMPTY or (self.right and cell in ZERO))


@dataclass
class Table:
    """Rows of cells, the first `names` of which name the row.

    A cell may have several lines. `more` makes one row that stands for those from a place on, where
    they are too many for the screen.
    """

    columns: list[Column]
    rows: list[list[str]]
    names: int = 1
    styles: list[str] = field(default_factory=list)  # of rows
    more: Callable[[int], list[str]] | None = None

    def without_empty(self) -> Table:
        """Leave out the columns that say nothing in any row."""
        kept = [
            number
            for number, column in enumerate(self.columns)
            if number < self.names or any(column.says(row[number]) for row in self.rows)
        ]
        rows = [[row[number] for number in kept] for row in self.rows]
        return Table([self.columns[n] for n in kept], rows, self.names, self.styles)

    def first(self, count: int) -> Table:
        """Take some rows, and one for all others."""
        if count >= len(self.rows):
            return self
        rest = [self.more(count)] if self.more else []
        return Table(self.columns, self.rows[:count] + rest, self.names, self.styles)

    def style(self, number: int) -> str:
        """Return the style of a row."""
        return self.styles[number] if number < len(self.styles) else ""


def fit(table: Table, width: int, height: int | None = None) -> list[Text]:
    """Lay a table out in lines of at most `width` columns, and where asked in `height` lines."""
    if not table.rows:
        return []
    for layout in (side_by_side, transposed, blocks, sentences):
        lines = layout(table.without_empty(), width)
        if lines is not None and (height is None or len(lines) <= height):
            return lines
    shown: list[Text] = []
    for count in range(1, len(table.rows)):
        part = table.first(count).without_empty()
        lines = side_by_side(part, width) or sentences(part, width)
        if shown and len(lines) > (height or 0):
            break
        shown = lines
    return shown[:height]


def side_by_side(table: Table, width: int) -> list[Text] | None:
    """Lay out a line a row; prose takes what the others leave. None: too wide."""
    widths = _widths(table, width)
    if widths is None:
        return None
    lines = [_line([c.heading for c in table.columns], table.columns, widths, HEAD)]
    for number, row in enumerate(table.rows):
        cells = [
            wrap_words(cell, size) if column.prose else cell.split("\n")
            for cell, column, size in zip(row, table.columns, widths, strict=True)
        ]
        style = table.style(number)
        lines += [
            _line(line, table.columns, widths, style) for line in zip_longest(*cells, fillvalue="")
        ]
    return lines


def _widths(table: Table, width: int) -> list[int] | None:
    """Return each column's width; None when they don't fit."""
    natural, least = [], []
    for number, column in enumerate(table.columns):
        cells = [column.heading, *(row[number] for row in table.rows)]
        longest = max(cell_len(line) for cell in cells for line in cell.split("\n"))
        word = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
        natural.append(longest)
        prose_min = max(min(longest, PROSE_MIN), word, cell_len(column.heading))
        least.append(prose_min if column.prose else longest)
    room = width - GAP * (len(table.columns) - 1)
    if sum(least) > room:
        return None
    spare = room - sum(least)
    for number, wanted in enumerate(natural):
        more = min(wanted - least[number], spare)
        least[number] += more
        spare -= more
    return least


def _line(
    cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], style: str
) -> Text:
    line = Text(style=style)
    for cell, column, size in zip(cells, columns, widths, strict=True):
        text = " " * (size - cell_len(cell)) + cell if column.right else set_cell_size(cell, size)
        line.append(text, column.styles.get(cell)).append(" " * GAP)
    line.rstrip()
    return line


def transposed(table: Table, width: int) -> list[Text] | None:
    """Lay out a column a row of the table, where its names and numbers are side by side."""
    if any(column.prose for column in table.columns) or table.names != 1 or len(table.rows) < 2:
        return None
    if any("\n" in row[0] for row in table.rows):
        return None
    heads = [Column(table.columns[0].heading), *(Column(row[0], right=True) for row in table.rows)]
    rows = [
        [column.heading, *(row[number] for row in table.rows)]
        for number, column in enumerate(table.columns)
        if number >= table.names
    ]
    return side_by_side(Table(heads, rows), width)


def blocks(table: Table, width: int) -> list[Text]:
    """Lay out a block a row: its names, and its values below each other. What is no prose and too
    long even for a line of its own stays in one piece, so that it can be copied.
    """
    lines: list[Text] = []
    for number, row in enumerate(table.rows):
        lines += _headline(table, row, width, table.style(number))
        values = list(_values(table, row))
        size = max((cell_len(column.heading) for column, _ in values), default=0)
        digits = max((cell_len(cell) for column, cell in values if column.right), default=0)
        for column, cell in values:
            start = INDENT + set_cell_size(column.heading, size) + " " * GAP
            room = width - cell_len(start)
            text = cell.rjust(digits) if column.right else cell
            parts = wrap_words(text, room) if column.prose else text.split("\n")
            if any(cell_len(part) > room for part in parts):
                lines.append(Text(start.rstrip()))
                start = INDENT * 2
                parts = wrap_words(text, width - len(start)) if column.prose else parts
            for place, part in enumerate(parts):
                line = Text(start if not place else " " * cell_len(start))
                lines.append(line.append(part, column.styles.get(cell)))
    return lines


def sentences(table: Table, width: int) -> list[Text]:
    """Lay out a block a row: its names, and its values in a sentence."""
    lines: list[Text] = []
    for number, row in enumerate(table.rows):
        lines += _headline(table, row, width, table.style(number))
        phrases: list[str] = []
        for column, cell in _values(table, row):
            if column.prose:
                lines += [Text(INDENT + part) for part in wrap_words(cell, width - len(INDENT))]
            else:
                phrases += [f"{column.heading} {part}" for part in cell.split("\n")]
        lines += [Text(line) for line in join_phrases(phrases, width, INDENT)]
    return lines


def _headline(table: Table, row: list[str], width: int, style: str) -> list[Text]:
    names = [
        Text(cell, style=column.styles.get(cell, ""))
        for cell, column in zip(row[: table.names], table.columns, strict=False)
        if cell
    ]
    gap = Text(" " * GAP, style=style or HEAD)
    whole, last = gap.join(names), list(names[-1].split("\n"))
    if len(last) == 1 and whole.cell_len <= width:
        return [whole]
    return [gap.join(names[:-1]), *last] if names[1:] else last


def _values(table: Table, row: list[str]) -> Iterator[tuple[Column, str]]:
    """Pair each column behind the names with its cell, where there is something to say."""
    for column, cell in zip(table.columns[table.names :], row[table.names :], strict=True):
        if column.says(cell):
            yield column, cell
