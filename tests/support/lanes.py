# SPDX-License-Identifier: Apache-2.0
"""How `pytest -n 2` divides the tests between two processes.

Guests of tests/vm are one lane, since they boot once and share nothing with the host. Tests that
share something of the host (huge pages, DPDK, cores, rates) are the other, one after the other.
The files in `APART` hold nothing but their own memory, folders and devices: whichever process is
done with its lane first takes them, one by one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

APART = (
    "tests/drivers/",
    "tests/fastpath/",
    "tests/fuzz/",
    "tests/jobs/",
    "tests/packets/",
    "tests/peers/test_memif_hostile.py",
    "tests/process/",
    "tests/sandbox/",
    "tests/telemetry/",
    "tests/test_forge.py",
    "tests/test_sanitized.py",
    "tests/test_sdist.py",
    "tests/test_spec.py",
    "tests/test_text.py",
    "tests/toys/",
    "tests/transports/",
)


def lane(nodeid: str) -> str:
    """Return the name of the lane that a test runs in."""
    path = nodeid.partition("::")[0]
    if path.startswith("tests/vm/"):
        return "guests"
    return path if path.startswith(APART) else "host"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Schedule by lane, in the order in which lanes were collected: the long ones first."""
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return lane(nodeid)

    config.option.loadscopereorder = False
    return Lanes(config, log)


def pytest_configure(config):
    """Shorten the temporary folders of one of several processes: sockets lie in them, whose paths
    have 107 characters at most.
    """
    if divided(config) and config.option.basetemp:
        number = config.workerinput["workerid"].removeprefix("gw")
        config.option.basetemp = str(Path(config.option.basetemp).with_name(number))


def divided(config) -> bool:
    """Return whether this process is one of several that share the tests."""
    return hasattr(config, "workerinput")
