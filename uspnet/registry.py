# SPDX-License-Identifier: Apache-2.0
"""A folder is a registry: its modules register the classes that they define when imported."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

_FAILED: dict[str, list[str]] = {}  # by entry-point group: what could not be loaded, and why


def load(package: str) -> None:
    """Import every module of a package and of its subpackages; then those that other distributions
    offer in the entry-point group of the same name. One of these that fails is left out, and
    `failures` has the reason.
    """
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)
    for entry in entry_points(group=package):
        try:
            entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is somebody else's code
            _FAILED.setdefault(package, []).append(_failure(entry, error))


def load_named(package: str, name: str, module: str) -> None:
    """Import the module of a package that has this name; of a subpackage, only `module`. Where
    there is none, nothing is imported.
    """
    found = find_spec(f"{package}.{name}") if name.isidentifier() else None
    if found and found.submodule_search_locations:
        importlib.import_module(f"{package}.{name}.{module}")
    elif found:
        importlib.import_module(found.name)


def _failure(entry: EntryPoint, error: BaseException) -> str:
    owner = f" of the package {entry.dist.name}" if entry.dist else ""
    what = traceback.format_exception_only(error)[-1].strip()  # also where str(error) raises
    return f"{entry.name}{owner} could not be loaded: {what}"


def failures(package: str) -> str:
    """Return what could not be loaded, to be put in front of a hint; empty if nothing failed."""
    return "".join(f"{text}; " for text in _FAILED.get(package, []))
