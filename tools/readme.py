# SPDX-License-Identifier: Apache-2.0
"""Writes README.md's tables of commands and ports from the code. `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from uspnet.cli import app
from uspnet.drivers import nics
from uspnet.ports.nic import NicPort
from uspnet.ports.registry import schemes

README = Path(__file__).resolve().parent.parent / "README.md"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def commands() -> str:
    """Return the table of commands, with the first sentence of each help."""
    group: Any = typer.main.get_command(app)
    rows = []
    for name, command in group.commands.items():
        context = typer.Context(command, info_name=name)
        pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
        usage = " ".join(["uspnet", name, *pieces])
        rows.append((f"`{usage}`", " ".join(command.help.strip().split("\n\n")[0].split())))
    return table(("command", "does"), rows)


def nic_options() -> str:
    """Return the options of all NIC drivers."""
    names: dict[str, None] = {}
    for kind in nics().values():
        names |= dict.fromkeys(kind.options.known())
    return " ".join(f"`{name}`" for name in names)


def ports() -> str:
    """Return the table of ports: scheme, what it talks to, and its options."""
    rows = []
    for scheme, driver in sorted(schemes().items()):
        options = " ".join(f"`{name}`" for name in driver.options.known())
        if issubclass(driver, NicPort):
            options += " and those of the NIC: " + nic_options()
        rows.append((f"`{scheme}:`", driver.help, options))
    return table(("port", "talks to", "options"), rows)


def fill(text: str, made: dict[str, str]) -> str:
    """Return a document with the text between its markers replaced. `made` has it by marker."""
    for name, new in made.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        if not begin or not end:
            raise SystemExit(f"no markers for {name}")
        text = before + begin + new + end + after
    return text


def main() -> int:
    """Write the tables, or with `--check` report whether they are up to date."""
    text = README.read_text()
    new = fill(text, {"commands": commands(), "ports": ports()})
    if "--check" in sys.argv:
        if new != text:
            print("README.md's tables are out of date: run make man")
        return int(new != text)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
