# SPDX-License-Identifier: Apache-2.0
"""How `pytest -n 2` divides the tests between two processes.

Guests of tests/vm are one lane, since they boot once. Tests that share something of the host (huge
pages, DPDK, a core's whole time) are another, one after the other. All other files hold nothing but
their own memory, folders, namespaces and devices: each is a lane, which whichever process is free
takes. The longest lanes are first, so that both processes end at about the same time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = (
    "tests/bench/",
    "tests/cli/test_rates.py",
    "tests/peers/test_memif_dpdk.py",
    "tests/peers/test_memif_kill.py",
    "tests/peers/test_memif_regions.py",
)
FIRST = ("guests", "host", "tests/test_sanitized.py")


def lane(nodeid: str) -> str:
    """Return the name of the lane that a test runs in."""
    path = nodeid.partition("::")[0]
    if path.startswith("tests/vm/"):
        return "guests"
    return "host" if path.startswith(SHARED) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Schedule by lane, in the order in which lanes are collected."""
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return lane(nodeid)

    config.option.loadscopereorder = False
    return Lanes(config, log)


def in_order(items):
    """Return the tests in the order in which their lanes are to begin."""
    places = {name: number for number, name in enumerate(FIRST)}
    return sorted(items, key=lambda item: places.get(lane(item.nodeid), len(FIRST)))


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
