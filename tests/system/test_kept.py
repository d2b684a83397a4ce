# SPDX-License-Identifier: Apache-2.0
"""What a version leaves to the next: whatever else a variable of the environment may name."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict

import pytest

from uspnet.errors import Malformed
from uspnet.system import kept
from uspnet.system.kept import VARIABLE, State
from uspnet.system.sealed import SEALS


@pytest.fixture(autouse=True)
def alone():
    """Nothing is left behind."""
    yield
    kept._now.clear()


def memfd(text, seals=SEALS):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, text)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def state(**members):
    return {**asdict(State(pid=os.getpid(), version="1")), **members}


def test_it_is_read_as_it_was_written():
    held = os.open(os.devnull, os.O_RDONLY)
    written = State(pid=os.getpid(), version="1", words=["fwd", "\udcff"], fds={"x": held}, count=3)
    os.set_inheritable(held, True)
    environment = {VARIABLE: str(written.write())}
    assert kept.begin(environment) == written
    assert environment == {}
    assert not os.get_inheritable(held)
    assert kept.take("y") == -1
    assert kept.take("x") == held
    assert kept.take("x") == -1
    os.close(held)


@pytest.mark.parametrize("members", [{"before": [{}] * 9}, {"fds": {"x": 3, "y": 4}}])
def test_what_would_not_be_read_is_not_written(members, monkeypatch):
    monkeypatch.setattr(kept, "BYTES_MAX", len(json.dumps(state())) + 32)
    monkeypatch.setattr(kept, "FDS_MAX", 1)
    os.close(State(**state()).write())
    with pytest.raises(OSError, match="too much"):
        State(**state(**members)).write()


def test_without_the_variable_there_is_nothing():
    assert kept.begin({}) is None
    assert kept.former() is None
    assert kept.take("x") == -1


@pytest.mark.parametrize("number", ["", "x", "-1", "99999", "9" * 30, "²", "0x3"])
def test_numbers_that_name_nothing(number):
    with pytest.raises(Malformed, match=VARIABLE):
        kept.begin({VARIABLE: number})


WRONG = {
    "of another version": {"format": 99},
    "another process's": {"pid": 1},
    "no number": {"upgrades": "1"},
    "no limit": {"count": 0},
    "no time": {"duration": -1.0},
    "no words": {"words": [1]},
    "no results": {"before": ["x"]},
    "standard streams": {"fds": {"x": 1}},
    "closed": {"fds": {"x": 999}},
    "huge": {"fds": {"x": 1 << 40}},
    "no descriptors": {"fds": {"x": True}},
    "twice": {"fds": {"x": 3, "y": 3}},
    "more": {"more": 1},
    "no server": {"server": 1},
}


@pytest.mark.parametrize("members", WRONG.values(), ids=WRONG)
def test_states_that_are_none(members):
    fd = memfd(json.dumps(state(**members)).encode())
    with pytest.raises(Malformed):
        kept.begin({VARIABLE: str(fd)})
    os.close(fd)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_texts_that_are_none(text):
    fd = memfd(text)
    with pytest.raises(Malformed):
        kept.begin({VARIABLE: str(fd)})
    os.close(fd)


def test_what_could_be_changed_is_refused(tmp_path):
    whole = json.dumps(state()).encode()
    open_one = memfd(whole, fcntl.F_SEAL_SHRINK)
    (tmp_path / "file").write_bytes(whole)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    for fd in (open_one, file):
        with pytest.raises(Malformed):
            kept.begin({VARIABLE: str(fd)})
        os.close(fd)
