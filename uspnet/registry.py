# SPDX-License-Identifier: Apache-2.0
"""A folder is a registry: its modules register the classes that they define when imported."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points


def load(package: str) -> None:
    """Import every module of a package and of its subpackages; then those that other distributions
    offer in the entry-point group of the same name.
    """
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)
    for entry in entry_points(group=package):
        entry.load()
