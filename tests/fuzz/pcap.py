# SPDX-License-Identifier: Apache-2.0
"""Fuzz target: capture files, through the C reader, built with gcc's coverage and sanitizers."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

from tests.support.sanitizers import SANITIZE

HERE = Path(__file__).resolve().parent
FASTPATH = HERE.parents[1] / "uspnet/fastpath"
SIZES = (1, 2, 4, 8)
NAMES = [
    "8bit_counters_init",
    "pcs_init",
    *(f"trace_cmp{size}" for size in SIZES),
    *(f"trace_const_cmp{size}" for size in SIZES),
    "trace_switch",
]


def build(place: Path) -> Path:
    """Build the reader and the target's C half in a folder; return the library's path."""
    library = place / "pcap.so"
    flags = ["-std=gnu11", "-march=x86-64-v2", f"-I{FASTPATH}", *SANITIZE.split()]
    coverage = place / "coverage.o"
    # Not with coverage itself: it would call itself.
    command = ["gcc", "-c", "-O2", "-fPIC", "-o", str(coverage), str(HERE / "coverage.c")]
    subprocess.run(command, check=True)
    sources = [*sorted((FASTPATH / "rings/pcap").glob("*.c")), HERE / "pcap.c"]
    sources += [FASTPATH / name for name in ("loops/filter.c", "code.c")]
    trace = "-fsanitize-coverage=trace-pc,trace-cmp"
    command = ["gcc", "-shared", "-fPIC", trace, *flags, "-o", str(library), str(coverage)]
    subprocess.run([*command, *map(str, sources)], check=True)
    return library


def load(fuzzer: str):
    """Load the library that USPNET_FUZZ_LIBRARY names, and connect it to libFuzzer."""
    library = ctypes.CDLL(os.environ["USPNET_FUZZ_LIBRARY"])
    core = ctypes.CDLL(fuzzer)
    functions = [
        ctypes.cast(getattr(core, f"__sanitizer_cov_{name}"), ctypes.c_void_p) for name in NAMES
    ]
    library.coverage_begin((ctypes.c_void_p * len(functions))(*functions))
    library.pcap_one.argtypes = [ctypes.c_char_p, ctypes.c_size_t]

    def one(data: bytes) -> None:
        library.pcap_one(data, len(data))

    return one
