# SPDX-License-Identifier: Apache-2.0
"""No forward loop takes more instructions a packet than were recorded for this compiler. What has
become cheaper, or must cost more: `python bench/instructions.py record`.
"""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import instructions

MORE = 1.02  # what a change may cost

pytestmark = pytest.mark.skipif(
    not shutil.which("valgrind"), reason="valgrind is not installed: apt-get install valgrind"
)


@pytest.fixture(scope="module")
def counted():
    return instructions.count_all()


@pytest.mark.full
@pytest.mark.parametrize("path", instructions.PATHS)
def test_no_loop_has_grown(counted, path):
    kept = instructions.recorded().get(instructions.compiler(), {}).get(path)
    if not kept:
        pytest.skip(f"no instruction count is recorded: for {instructions.compiler()}")
    assert counted[path] <= kept * MORE
