# SPDX-License-Identifier: Apache-2.0
"""Writes docs/drivers.md's table of NICs from the drivers and from what their tests cover; a proof
is claimed where its test is made for that device. `--check` only compares.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

from tools.readme import fill, table
from uspnet.drivers import nics
from uspnet.nic.base import HEADER, Nic, NicOptions

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/drivers.md"
PLAIN = NicOptions.known()  # options that say nothing about a device
HEAD = ("driver", "devices", "as", "can", "registers", "ring", "contract", "wire", "fwd", "guest")


def covered(module: str, name: str) -> set[str]:
    """Return the models that a test module is parametrized over: its variable `name`."""
    given = getattr(import_module(module), name)
    words = [given] if isinstance(given, str) else given
    return {word.removeprefix("qemu:").partition(",")[0] for word in words}


def proofs() -> dict[str, set[str]]:
    """Return the models that each proof has been made for."""
    return {
        "contract": covered("tests.ports.test_contract", "SPECS"),
        "wire": covered("tests.drivers.test_nic_traffic", "MODELS")
        | covered("tests.drivers.test_virtio_net", "MODEL"),
        "fwd": covered("tests.peers.test_nic_fwd", "MODELS"),
        "guest": covered("tests.vm.guest", "KINDS"),
    }


def word(*, true: bool) -> str:
    """Return a cell of the table."""
    return "yes" if true else "no"


def features(kind: type[Nic]) -> str:
    """Return the longest payload, and the options that not all NICs have."""
    own = [f"`{name}`" for name in kind.options.known() if name not in PLAIN]
    if most := getattr(kind, "queues_max", 0):
        own[own.index("`queues`")] += f" to {most}"
    return " ".join([f"`mtu` to {kind.frame_max - HEADER}", *own])


def row(kind: type[Nic], found: dict[str, set[str]]) -> tuple[str, ...]:
    """One driver class: its devices, and what was proven with them."""
    lint = import_module("tests.drivers.test_register_tables").ALL
    ring = ROOT / f"tests/fastpath/test_{kind.ring}.py"
    models = [f"`qemu:{name}`" for name in kind.models]
    return (
        f"`{kind.__module__.rpartition('.')[2]}`",
        ", ".join(dict.fromkeys(kind.ids.values())),
        " ".join(models) or "pci: only (QEMU has no model)",
        features(kind),
        word(true=kind.registers in lint),
        word(true=ring.exists()),
        *(word(true=not names.isdisjoint(kind.models)) for names in found.values()),
    )


def limits() -> str:
    """Return what each driver does not do, from its docstring."""
    lines = []
    for module in sorted({kind.__module__ for kind in nics().values()}):
        text = " ".join((sys.modules[module].__doc__ or "").split())
        name = module.rpartition(".")[2]
        if name != "intel" and (said := re.search(r"Does not do: (.*?\.)( |$)", text)):
            lines.append(f"- `{name}`: {said[1]}\n")
    return "".join(lines)


def drivers_table() -> str:
    """One row a driver class."""
    found = proofs()
    kinds = dict.fromkeys(nics().values())
    ours = [kind for kind in kinds if kind.__module__.startswith("uspnet.")]
    return table(HEAD, [row(kind, found) for kind in ours])


def main() -> int:
    """Write the table, or with `--check` report whether it is up to date."""
    text = DOCUMENT.read_text()
    new = fill(text, {"nics": drivers_table(), "limits": limits()})
    if "--check" in sys.argv:
        if new != text:
            print("docs/drivers.md's table is out of date: run make man")
        return int(new != text)
    DOCUMENT.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
