# SPDX-License-Identifier: Apache-2.0
"""Writes man/*.1 from the command line's own help. `--check` only compares, for CI."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import typer

from uspnet import __version__
from uspnet.cli import app, manual
from uspnet.drivers import nics
from uspnet.ports.nic import NicPort
from uspnet.ports.registry import schemes

MAN = Path(__file__).resolve().parent.parent / "man"


def roff(text: str) -> str:
    """Escape what roff would interpret."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\n".join("\\&" + line if line.startswith(".") else line for line in text.split("\n"))


def paragraph(text: str) -> str:
    """Format a docstring's paragraphs; indented ones keep their line breaks."""
    parts = []
    for part in textwrap.dedent(text).strip().split("\n\n"):
        if part.startswith(" "):
            parts.append(f".nf\n{roff(part)}\n.fi")
        else:
            parts.append(roff(" ".join(part.split())))
    return "\n.PP\n".join(parts)


def items(rows: list[tuple[str, str]]) -> str:
    """Format tagged paragraphs."""
    return "\n".join(f".TP\n.B {roff(name)}\n{roff(text)}" for name, text in rows if text)


def page(name: str, sections: list[tuple[str, str]]) -> str:
    """Return one man page."""
    head = ".\\\" Made by tools/man.py from the help texts. Don't edit.\n"
    head += f'.TH {roff(name.upper())} 1 "" "uspnet {__version__}" "User commands"\n'
    return head + "".join(f".SH {title}\n{body}\n" for title, body in sections if body)


def command_page(name: str, command: Any, parent: typer.Context) -> str:
    """Return the man page of one command."""
    context = typer.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    short = (command.help or "").strip().split("\n\n")[0].rstrip(".")
    full = f"uspnet-{name}"
    return page(
        full,
        [
            ("NAME", f"{roff(full)} \\- {roff(' '.join(short.split()))}"),
            ("SYNOPSIS", f".B uspnet {roff(name)}\n{roff(usage)}"),
            ("DESCRIPTION", paragraph(command.help or "")),
            ("ARGUMENTS", items(command.records(context, "argument"))),
            ("OPTIONS", items(command.records(context, "option"))),
            ("EXAMPLES", example_items(name)),
            *closing(name),
            ("SEE ALSO", ".BR uspnet (1)"),
        ],
    )


def example_items(*names: str) -> str:
    """Format the examples of commands: what each does, and its command line."""
    found = [each for name in names for each in manual.examples(name)]
    return "\n.PP\n".join(
        f"{roff(does)}:\n.PP\n.RS 4\n.nf\n{roff(line)}\n.fi\n.RE" for does, line in found
    )


def closing(name: str) -> list[tuple[str, str]]:
    """Return the sections that all pages end with. `name` is a command, or "" for all."""
    return [
        ("FILES", items(manual.used_by(name, manual.FILES))),
        ("ENVIRONMENT", items(manual.used_by(name, manual.ENVIRONMENT))),
        ("EXIT STATUS", items(manual.exits(name))),
    ]


def nic_items() -> str:
    """Format the options that NIC drivers add to those of a port."""
    parts = []
    for kind in dict.fromkeys(nics().values()):
        titles = ", ".join(dict.fromkeys(kind.ids.values()))
        models = " ".join(f"qemu:{name}" for name in kind.models)
        parts.append(f".TP\n.B {roff(titles)}\n{roff(models or 'pci: only (QEMU has no model)')}")
        rows = [(f"{name}=", option.help) for name, option in kind.options.known().items()]
        parts.append(f".RS\n{items(rows)}\n.RE")
    return "\n".join(parts)


def port_items() -> str:
    """Format every port scheme with its options."""
    parts = []
    for scheme, driver in sorted(schemes().items()):
        parts.append(f".TP\n.B {roff(scheme)}:\n{roff(driver.help)}")
        if driver.about:
            parts.append(f".RS\n{paragraph(driver.about)}\n.RE")
        options = [(f"{name}=", option.help) for name, option in driver.options.known().items()]
        if options:
            parts.append(f".RS\n{items(options)}\n.RE")
        if issubclass(driver, NicPort):
            parts.append(".RS\nAnd the options of the NIC, below.\n.RE")
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """Return all pages by file name."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="uspnet")
    made = {f"uspnet-{n}.1": command_page(n, c, context) for n, c in group.commands.items()}
    commands = [
        (f"uspnet {name}", (command.help or "").strip().split("\n\n")[0])
        for name, command in group.commands.items()
    ]
    also = ",\n".join(f".BR uspnet\\-{roff(name)} (1)" for name in group.commands)
    made["uspnet.1"] = page(
        "uspnet",
        [
            ("NAME", f"uspnet \\- {roff(group.help.rstrip('.'))}"),
            ("SYNOPSIS", ".B uspnet\nCOMMAND [OPTIONS]"),
            ("COMMANDS", items(commands)),
            ("PORTS", "A port is written scheme:target,option=value,...\n" + port_items()),
            ("OPTIONS OF NICS", "Additional options of qemu: and pci: ports.\n" + nic_items()),
            ("EXAMPLES", example_items("pktgen", "capture", "fwd")),
            *closing(""),
            ("SEE ALSO", also.replace(",\n", " ,\n")),
        ],
    )
    return made


def main() -> int:
    """Write the pages, or with `--check` report which are out of date."""
    want = pages()
    have = {path.name: path.read_text() for path in MAN.glob("*.1")}
    if "--check" in sys.argv:
        stale = sorted(name for name in want | have if want.get(name) != have.get(name))
        print(*[f"man/{name} is out of date: run make man" for name in stale], sep="\n", end="")
        return 1 if stale else 0
    MAN.mkdir(exist_ok=True)
    for name in have.keys() - want.keys():
        (MAN / name).unlink()
    for name, text in want.items():
        (MAN / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
