# SPDX-License-Identifier: Apache-2.0
"""What mypy knows of the C half: a name that C does not have is found before anything runs."""

import re
import subprocess
import sys

from tests.support.paths import ROOT

HEAD = """\
from uspnet.fastpath import c, ffi, lib


def use(ring: c.NullQueue, stack: c.Stack) -> None:
    ring.length = 60
    ring.q.stack = stack
    ring.q.burst = ffi.addressof(lib, "null_rx")
    made = ffi.new("struct intel_queue *", {"size": 512, "bell": {"mmio": ffi.NULL, "bytes": 4}})
    made.vector = {"unmask": made.bell, "mask_value": 1}
    made.buffers = ffi.new("uint32_t[]", 512)
    made.ring[3].address = lib.null_tx(ffi.cast("struct queue *", made), ffi.NULL, lib.BURST_MAX)
"""


def mypy(tmp_path, lines):
    source = tmp_path / "use.py"
    source.write_text(HEAD + "".join(f"    {line}\n" for line in lines))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(source)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


ANY_MAX = 80
MISTAKES = {
    "ring.leng = 60": 'no attribute "leng"',
    "ring.q.stak = stack": "stak",
    "ring.length = '60'": "expression has type",
    "made.bell = {'mmoi': ffi.NULL}": "dict[",
    "made.ring[3].addr = 1": 'no attribute "addr"',
    "ring.q.pool = stack": "expression has type",
    "lib.null_rxx(ring.q, ffi.NULL, 1)": "null_rxx",
    "lib.virtq_empty(ring)": "incompatible type",
    "print(lib.BURST_MAXIMUM)": "BURST_MAXIMUM",
}


def test_a_misspelt_field_is_a_type_error(tmp_path):
    result = mypy(tmp_path, MISTAKES)
    first = HEAD.count("\n") + 1
    for number, (line, said) in enumerate(MISTAKES.items(), first):
        found = [text for text in result.stdout.splitlines() if f"use.py:{number}: error" in text]
        assert any(said in text for text in found), f"{line}\n{result.stdout}{result.stderr}"


def test_what_c_has_is_none(tmp_path):
    result = mypy(tmp_path, [])
    assert result.returncode == 0, result.stdout + result.stderr


def test_few_types_are_left_open():
    lines = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in sorted((ROOT / "uspnet").rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"\bAny\b(?! [a-z])", line)  # not in a sentence
    ]
    assert len(lines) <= ANY_MAX, "\n".join(lines)
