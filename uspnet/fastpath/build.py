# SPDX-License-Identifier: Apache-2.0
"""Builds the C fast path as one cffi extension.

`fastpath.h` and each ring's `.c` fence the part that Python may see between `// [python]` and
`// [c]`. The same bytes are given to the compiler and to cffi, so the two can't drift apart.
Run as a script, it builds in place; `setup.py` uses `ffibuilder`.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from cffi import FFI, CDefError

HERE = Path(__file__).resolve().parent
SOURCES = sorted(path for path in HERE.rglob("*.c") if path.name != "_fastpath.c")
# x86-64-v2 is every x86 server and laptop since 2009; wider code is chosen at run time.
X86 = ["-march=x86-64-v2", "-fcf-protection=none"]
MARCH = {"x86_64": X86, "AMD64": X86}
# All that decides about the code is said here: Python's own build adds its flags before these.
# Functions with buffers of bytes are guarded; those of the loops have none.
CFLAGS = [
    *("-O3", "-std=gnu11", "-fwrapv", "-fomit-frame-pointer", "-fstack-protector"),
    *("-fno-stack-clash-protection", "-fno-lto", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"),
    *("-Wall", "-Wextra", "-Werror=incompatible-pointer-types"),
]


def fenced(path: Path) -> str:
    """Return the declarations between the fences of a C file; empty when it has none. Raises
    SystemExit.
    """
    text = path.read_text()
    _, fence, rest = text.partition("// [python]\n")
    inside, end, after = rest.partition("// [c]\n")
    if bool(fence) != bool(end) or "// [python]" in after or ("// [c]" in text and not end):
        raise SystemExit(f"{path}: wants // [python] and then // [c], once, on lines of their own")
    return inside


def in_order() -> list[Path]:
    """Return the headers, each after those that it includes."""
    found: dict[Path, None] = {}

    def visit(path: Path) -> None:
        for name in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE):
            near = path.parent / name
            visit(near if near.exists() else HERE / name)
        found.setdefault(path)

    for path in sorted(HERE.rglob("*.h")):
        visit(path)
    return list(found)


def make_builder() -> FFI:
    """Return the cffi builder. `USPNET_CFLAGS` adds compiler and linker flags (sanitizers)."""
    builder = FFI()
    headers = in_order()
    rings = "\n".join(fenced(path) for path in SOURCES)
    for path in [*headers, *SOURCES]:
        try:
            builder.cdef(fenced(path))
        except CDefError as error:
            raise SystemExit(f"{path}: between // [python] and // [c]: {error}") from None
    extra = os.environ.get("USPNET_CFLAGS", "").split()
    root = Path(os.environ.get("USPNET_SOURCE_ROOT", HERE.parent.parent))
    builder.set_source(
        "uspnet.fastpath._fastpath",
        "".join(f'#include "{path.relative_to(HERE)}"\n' for path in headers) + rings,
        sources=[os.path.relpath(path, root) for path in SOURCES],
        depends=[os.path.relpath(path, root) for path in headers],
        include_dirs=[str(HERE)],
        extra_compile_args=CFLAGS + MARCH.get(platform.machine(), []) + extra,
        extra_link_args=extra,
        py_limited_api=True,
    )
    return builder


ffibuilder = make_builder()

if __name__ == "__main__":
    os.chdir(HERE.parent.parent)
    for stale in HERE.glob("_fastpath.*.so"):  # Python would load another version's build first
        stale.unlink()
    ffibuilder.compile(verbose=bool(os.environ.get("VERBOSE")))
