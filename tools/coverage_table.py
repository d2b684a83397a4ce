# SPDX-License-Identifier: Apache-2.0
"""Print how many lines of each folder the tests reached: `coverage_table.py PYTHON.json C.json`.

PYTHON.json is a report of coverage.py; C.json has one report of gcov a line.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

Row = tuple[str, int, int]  # file, lines reached, lines


def python_rows(report: Path) -> Iterator[Row]:
    """Yield each Python file of a JSON report of coverage.py."""
    for name, file in json.loads(report.read_text())["files"].items():
        yield name, file["summary"]["covered_lines"], file["summary"]["num_statements"]


def c_rows(report: Path) -> Iterator[Row]:
    """Yield each C file. A header's lines are those of all files that include it, once each."""
    counts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for text in report.read_text().splitlines():
        for file in json.loads(text)["files"]:
            for line in file["lines"]:
                counts[file["file"]][line["line_number"]] += line["count"]
    for name, lines in counts.items():
        if name.startswith("uspnet/") and not name.endswith("_fastpath.c"):
            yield name, sum(count > 0 for count in lines.values()), len(lines)


def show(title: str, rows: Iterable[Row]) -> None:
    """Print one line a folder, and their sum."""
    folders: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, reached, lines in rows:
        for folder in (str(PurePath(name).parent), "all"):
            folders[folder][0] += reached
            folders[folder][1] += lines
    print(f"{title}: lines reached, of, in")
    for folder, (reached, lines) in sorted(folders.items(), key=lambda row: (row[0] == "all", row)):
        share = f"{100 * reached / lines:5.1f} %" if lines else "      -"
        print(f"  {reached:6,} {lines:6,} {share}  {folder}")


def main() -> None:
    """Print both tables."""
    show("Python", python_rows(Path(sys.argv[1])))
    show("C", c_rows(Path(sys.argv[2])))


if __name__ == "__main__":
    main()
