# SPDX-License-Identifier: Apache-2.0
"""What a kernel can enforce is tried, and what it can't is named."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from tests.support.processes import opened
from tests.support.sealed import status
from uspnet.fastpath import lib
from uspnet.jobs.doctor_sandbox import sandbox_rows
from uspnet.sandbox import available as module
from uspnet.sandbox.available import available
from uspnet.sandbox.calls import BASE
from uspnet.sandbox.enforced import observe


def test_the_trial_changes_nothing_here():
    watched = ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
    before, fds = status("self"), opened()
    found = available()
    after = status("self")
    assert opened() == fds
    assert [after[name] for name in watched] == [before[name] for name in watched]
    assert (found.capabilities, found.no_new_privs) == (0, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a child another user")
def test_a_child_of_root_has_a_user_of_its_own():
    assert available().user not in {None, 0}


class Lacking:
    """The fast path on a kernel that lacks Landlock, seccomp, or both."""

    def __init__(self, names):
        self._names = names

    def __getattr__(self, name):
        return (lambda *_: -errno.ENOSYS) if name in self._names else getattr(lib, name)


@pytest.mark.parametrize("lacks", [{"Landlock"}, {"seccomp"}, {"Landlock", "seccomp"}])
def test_what_is_missing_is_named_and_a_note_with_a_fix(monkeypatch, lacks):
    if "Landlock" in lacks:
        monkeypatch.setattr(module, "lib", Lacking({"sandbox_landlock"}))
    if "seccomp" in lacks:
        monkeypatch.setattr(module, "seal", lambda *_: errno.ENOSYS)
    found = available()
    assert lacks <= set(found.missing)
    assert found.landlock is None or "Landlock" not in lacks
    assert (found.seccomp is None) == ("seccomp" in lacks)
    rows = {check: (state, mend) for check, state, _, mend in sandbox_rows(found)}
    assert {check for check, (state, _) in rows.items() if state == "note"} >= lacks
    assert all(rows[check][1] for check in lacks)


def test_a_filter_that_does_not_end_the_process_does_not_count(monkeypatch):
    if available().seccomp is None:
        pytest.skip("needs seccomp")
    monkeypatch.setattr(module.os, "WTERMSIG", lambda _status: signal.SIGKILL)
    found = available()
    assert found.seccomp is None
    assert found.missing[-1].startswith("seccomp")


def test_a_process_without_a_sandbox_lacks_all_of_it():
    found = observe(os.getpid(), -errno.ENOSYS, len(BASE))
    assert (found.user, found.landlock, found.seccomp) == (None, None, None)
    assert {"Landlock", "seccomp"} <= set(found.missing)
    assert ("a user of its own" in found.missing) == (os.geteuid() == 0)
