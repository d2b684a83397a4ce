# SPDX-License-Identifier: Apache-2.0
"""What runs the filters of a job's loops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Literal

from uspnet.fastpath import ffi, lib

if TYPE_CHECKING:
    from uspnet.jobs.loops import Loop

FilterCode = Literal["x86-64", "interpreter"]
KIND = ffi.typeof("struct filter *")


def filter_code(loops: Iterable[Loop]) -> FilterCode | None:
    """Return what has run the filters of these loops, their members or in `filters`: the slower
    one, if both have; None: no filter has run.
    """
    listed = list(loops)
    values = [getattr(loop, field.name) for loop in listed for field in fields(loop)]
    values += [each for loop in listed for each in getattr(loop, "filters", ())]
    pointers = [each for each in values if isinstance(each, type(ffi.NULL))]
    ways = {int(each.way) for each in pointers if each and ffi.typeof(each) is KIND}
    if lib.FILTER_INTERPRETED in ways:
        return "interpreter"
    return "x86-64" if lib.FILTER_NATIVE in ways else None
