# SPDX-License-Identifier: Apache-2.0
"""Folders that take long to make, made once for all processes that share the tests."""

from __future__ import annotations

import fcntl

from tests.support.lanes import divided


def made_once(config, factory, name, make):
    """The folder of this name. `make(place)` makes it, in the first process that needs it; it is
    renamed when it is whole. `factory`: pytest's `tmp_path_factory`.
    """
    base = factory.getbasetemp()
    place = (base.parent if divided(config) else base) / name
    with (place.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            making = place.with_suffix(".making")
            make(making)
            making.rename(place)
    return place
