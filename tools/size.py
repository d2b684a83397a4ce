# SPDX-License-Identifier: Apache-2.0
"""Print the biggest files and functions, and fail when one is over its budget.

Rows of register tables don't count. A file that needs more lines says why in its first 12 lines:
`size: reason`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = {".py": 350, ".c": 300, ".h": 300}
FUNCTION = {".py": 40, ".c": 60, ".h": 60}
ROWS = {"RW", "RO", "WO", "RC", "RS"}  # uspnet/register.py
COLUMNS, SHOWN, REASON_LINES = 100, 5, 12
NEAR = 0.95  # of its budget: the next change should split it


@dataclass
class Measure:
    """One thing with a size and a budget."""

    what: str
    lines: int
    budget: int
    excused: bool = False

    @property
    def over(self) -> bool:
        """Return whether it is too big, without a reason."""
        return self.lines > self.budget and not self.excused

    @property
    def mark(self) -> str:
        """Return a word about its size, behind two spaces; empty when it is well within budget."""
        if self.lines > self.budget:
            return "  excused" if self.excused else "  OVER"
        return "  near" if self.lines > NEAR * self.budget else ""


def files() -> list[Path]:
    """Return every Python and C file that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = sorted({ROOT / line for line in listed.stdout.splitlines()})
    return [path for path in names if path.suffix in FILE and path.exists()]


def python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, line and length of each function: its body without signature and docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if ast.get_docstring(node) is not None and len(body) > 1:
                body = body[1:]
            yield node.name, node.lineno, (node.end_lineno or 0) - body[0].lineno + 1


def register_rows(text: str) -> int:
    """Lines that are rows of register tables: data, as a manual lists it."""
    rows = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = node.value.func
            if isinstance(made, ast.Name) and made.id in ROWS:
                rows += (node.end_lineno or node.lineno) - node.lineno + 1
    return rows


def c_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, line and length of each function: its braces are in column 0 (clang-format)."""
    name, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"[a-z_][\w *]*?\b(\w+)\(", line):
            name = found[1]
        if line == "{":
            start = number
        elif line == "}" and start:
            yield name, start, number - start + 1
            start = 0


def measure(path: Path) -> tuple[Measure, list[Measure], list[str]]:
    """Return the sizes of a file and of its functions, and a message for each long line."""
    text, kind = path.read_text(), path.suffix
    name, lines = str(path.relative_to(ROOT)), text.splitlines()
    excused = any("size: " in line for line in lines[:REASON_LINES])
    found = (python_functions if kind == ".py" else c_functions)(text)
    functions = [Measure(f"{name}:{at} {what}", size, FUNCTION[kind]) for what, at, size in found]
    wide = [f"{name}:{n}: {len(s)} columns" for n, s in enumerate(lines, 1) if len(s) > COLUMNS]
    size = len(lines) - (register_rows(text) if kind == ".py" else 0)
    return Measure(name, size, FILE[kind], excused), functions, wide


def main() -> int:
    """Print the tables. Return 1 when anything is over budget."""
    measured = [measure(path) for path in files()]
    whole = [file for file, _, _ in measured]
    functions = [function for _, some, _ in measured for function in some]
    wide = [line for _, _, some in measured for line in some]
    print(f"{len(whole)} files, {sum(file.lines for file in whole):,} lines")
    for title, rows in (("files", whole), ("functions", functions)):
        ordered = sorted(rows, key=lambda row: (not row.over, -row.lines / row.budget))
        print(f"biggest {title}, lines of budget:")
        marked = sum(bool(row.mark) for row in rows)  # they come first
        for row in ordered[: max(SHOWN, marked)]:
            print(f"  {row.lines:4} of {row.budget:3}  {row.what}{row.mark}")
    print(*wide, sep="\n", end="\n" if wide else "")
    return 1 if wide or any(row.over for row in whole + functions) else 0


if __name__ == "__main__":
    sys.exit(main())
