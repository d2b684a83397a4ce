# SPDX-License-Identifier: Apache-2.0
"""Scapy's layers by name: those that Scapy loads by itself, and those of its other modules, of
which only the one that defines the layer is loaded.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from uspnet.errors import Usage

if TYPE_CHECKING:
    from scapy.packet import Packet

FOLDERS = ("layers", "contrib")  # of the scapy package
CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)
RANDOM = re.compile(r"^Rand[A-Z]|^(Fuzz|Corrupted|Auto|Incremental)\w+$")  # Scapy's volatile values


def find_layer(name: str, module: str = "") -> type[Packet]:
    """Return the class of a layer by name: `UDP`, or `gtp.GTPHeader` if two modules have one of
    that name. Raise Usage.
    """
    import scapy.layers.all  # noqa: PLC0415 - Scapy takes a second to import

    layer = getattr(scapy.layers.all, name, None)
    if not module and _is_layer(layer):
        return layer
    homes = [each for each in sorted(index().get(name, ())) if module in ("", _short(each))]
    if not homes:
        full = f"{module}.{name}" if module else name
        raise Usage(f"--packet: Scapy has no layer {full!r}", _likely(name))
    if len(homes) > 1:
        names = " or ".join(f"{_short(home)}.{name}()" for home in homes)
        where = " and ".join(homes)
        raise Usage(f"--packet: {name} is a layer of {where}", f"write {names}")
    return _load(homes[0], name)


def _load(home: str, name: str) -> type[Packet]:
    try:
        layer = getattr(importlib.import_module(home), name, None)
    except Exception as error:  # noqa: BLE001 - a module may need anything
        raise Usage(f"--packet: {home} can't be loaded: {error}", "write other layers") from None
    if not _is_layer(layer):
        raise Usage(f"--packet: {home}.{name} is not a layer", _likely(name))
    return layer


def _is_layer(value: object) -> TypeGuard[type[Packet]]:
    from scapy.packet import Packet  # noqa: PLC0415

    return isinstance(value, type) and issubclass(value, Packet)


def _short(module: str) -> str:
    return module.rpartition(".")[2]


def _likely(name: str) -> str:
    """Return a hint: what `name` may have meant."""
    import scapy.layers.all  # noqa: PLC0415

    if RANDOM.match(name):
        return "packets are made once, before the first is sent: write a list, as dport=[53,123]"
    known: Collection[str] = [each for each in vars(scapy.layers.all) if each[:1].isupper()]
    near = difflib.get_close_matches(name, known, 1, 0.8)
    near = near or difflib.get_close_matches(name, index(), 1, 0.8)
    if near:
        return f"did you mean {near[0]}()?"
    return "write it as: Ether()/IP(dst='198.18.0.2')/UDP(sport=1024,dport=9)/('x'*18)"


@cache
def index() -> dict[str, frozenset[str]]:
    """Return the modules that define each class, read from their sources without executing them."""
    import scapy  # noqa: PLC0415

    root = Path(scapy.__file__).parent
    found: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in (root / folder).rglob("*.py"):
            parts = ["scapy", *path.relative_to(root).with_suffix("").parts]
            module = ".".join(parts).removesuffix(".__init__")
            for name in CLASS.findall(path.read_text(errors="replace")):
                found.setdefault(name, set()).add(module)
    return {name: frozenset(modules) for name, modules in found.items()}
