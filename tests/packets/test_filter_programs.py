# SPDX-License-Identifier: Apache-2.0
"""The interpreter of filters does what libpcap's does, in millions of random programs, under
AddressSanitizer and UBSan.
"""

import shutil
import subprocess

import pytest

from tests.support.paths import ROOT
from tests.support.sanitizers import SANITIZE
from tests.support.tiers import by_tier
from tests.support.waiting import scaled

PROGRAMS = by_tier(20_000, 3_000_000, 10_000_000)


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_random_programs_do_what_libpcap_makes_of_them(tmp_path):
    program, fastpath = tmp_path / "programs", ROOT / "uspnet/fastpath"
    sources = [ROOT / "tests/support/filter_programs.c", fastpath / "loops/filter.c"]
    words = ["-std=gnu11", "-fwrapv", *SANITIZE.split(), "-O2", "-o", program, f"-I{fastpath}"]
    subprocess.run(["gcc", *words, *sources, fastpath / "code.c", "-ldl"], check=True)
    done = subprocess.run(
        [program, "1", str(PROGRAMS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(300),
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    accepted = int(done.stdout.split()[-1])
    assert PROGRAMS * 0.1 < accepted < PROGRAMS * 0.9
