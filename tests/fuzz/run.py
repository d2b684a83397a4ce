# SPDX-License-Identifier: Apache-2.0
"""Fuzz one target: `python -m tests.fuzz.run TARGET [libFuzzer's options]`.

A target is a file of this folder with a function `one(data)`, which raises for what must not
happen. libFuzzer (by Atheris) makes the inputs, guided by the coverage of uspnet's Python and, for
`pcap`, of its C. It begins with the inputs in corpus/TARGET. What it finds is saved under
build/fuzz, and shown. Without options it goes on until it finds something; `-runs=0` only tries
what the corpus has, and a file's name in place of the options tries that.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.sanitizers import library

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOUND = ROOT / "build/fuzz"
TARGETS = ("pcap", "memif", "board", "spec", "packet", "jobs")
LIMITS = ["-rss_limit_mb=4096", "-timeout=60", "-print_final_stats=1"]


def environment(target: str, place: Path) -> dict[str, str]:
    """The child's: the same hashes in each run; the sanitizers and the library for pcap."""
    found = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    if target == "pcap":
        from tests.fuzz.pcap import build

        found["USPNET_FUZZ_LIBRARY"] = str(build(place))
        found["LD_PRELOAD"] = f"{library('libasan.so')} {library('libubsan.so')}"
        found["ASAN_OPTIONS"] = "detect_leaks=0:handle_abort=1:allocator_may_return_null=1"
        found["UBSAN_OPTIONS"] = "print_stacktrace=1"
    return found


def fuzz(target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzzer in a process of its own; return it with all it said in stdout."""
    FOUND.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "new").mkdir()  # libFuzzer adds what it learns to the first folder
        words = [sys.executable, "-m", "tests.fuzz.run", "--child", target, *LIMITS]
        words += [f"-artifact_prefix={FOUND}/{target}-", *options]
        if not any(Path(option).is_file() for option in options):
            corpus = HERE / "corpus" / target
            words += [str(folder) for folder in (place / "new", corpus) if folder.exists()]
        return subprocess.run(
            words,
            env=environment(target, place),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )


def child(target: str, options: list[str]) -> None:
    """Be the fuzzer. Does not return."""
    import atheris
    from atheris import core_with_libfuzzer

    if target == "pcap":
        from tests.fuzz.pcap import load

        one = load(core_with_libfuzzer.__file__)
    else:
        with atheris.instrument_imports(include=["uspnet"]):
            one = importlib.import_module(f"tests.fuzz.{target}").one
    atheris.Setup([target, *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(sys.argv[2], sys.argv[3:])
    done = fuzz(sys.argv[1], *sys.argv[2:])
    sys.stdout.write(done.stdout)
    sys.exit(done.returncode)
