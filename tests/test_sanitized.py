# SPDX-License-Identifier: Apache-2.0
"""Every test of a ring, also on the build with sanitizers."""

import pytest

from tests.support.tiers import by_tier

pytestmark = pytest.mark.full

# In the tier below: all of it runs without sanitizers, too, ten times as fast. Programs that tests
# start are not built so, and hang with the library in front of them.
MAIN = """
import os, sys, pytest
del os.environ["LD_PRELOAD"]
os.environ["USPNET_FULL"] = sys.argv[1]
sys.exit(pytest.main(sys.argv[2:]))
"""
STEPS = "death"  # at every instruction
LONG = f"around_the_ring or wrap_many or {STEPS}"  # many thousand packets of an honest device
ELSEWHERE = [f"--ignore=tests/fastpath/test_{name}.py" for name in ("instructions", "stubs")]


def test_the_sanitizers_watch(sanitized):
    """What is read beyond an allocation is found."""
    beyond = "from uspnet.fastpath import ffi, lib; x = ffi.new('char[4]'); lib.mmio_read(x + 4, 4)"
    done = sanitized.python("-c", beyond)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_the_rings(sanitized):
    which = by_tier([], ["-k", f"not ({LONG})"], ["-k", f"not {STEPS}"])
    words = ["-q", "-p", "no:cacheprovider", "--durations=10", *which, "tests/fastpath", *ELSEWHERE]
    done = sanitized.python("-c", MAIN, by_tier("0", "0", "1"), *words, limit_s=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout
