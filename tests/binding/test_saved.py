# SPDX-License-Identifier: Apache-2.0
"""Whose word a saved state is taken for."""

import os

import pytest

from tests.support.processes import NOBODY
from uspnet.binding.saved import FOLDER, Saved, Store
from uspnet.errors import Malformed, Refused
from uspnet.pci.sysfs import Tree

ADDRESS = "0000:03:00.0"


@pytest.fixture
def store(tmp_path):
    """A folder of states, with one in it."""
    made = Store(Tree(str(tmp_path)))
    made.put(Saved(ADDRESS, "e1000e", None, "vfio-pci", "boot", 0.0))
    return made


@pytest.fixture
def path(store, tmp_path):
    return tmp_path / FOLDER / f"{ADDRESS}.json"


def test_our_own_is_believed(store, path):
    assert store.load(ADDRESS).driver == "e1000e"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_write_is_not(store, path, mode):
    path.chmod(mode)
    with pytest.raises(Refused, match="can be written by another user"):
        store.load(ADDRESS)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a file away")
def test_another_users_is_not(store, path):
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(Refused, match="can be written by another user"):
        store.load(ADDRESS)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_neither_read_nor_written_through(store, path, tmp_path, there):
    other = tmp_path / "other"
    if there:
        other.write_text("precious")
    path.unlink()
    path.symlink_to(other)
    with pytest.raises(Refused, match="is a link"):
        store.load(ADDRESS)
    new = path.with_name(f"{path.name}.new")
    new.symlink_to(other)
    store.put(Saved(ADDRESS, "igb", None, "vfio-pci", "boot", 0.0))
    assert store.load(ADDRESS).driver == "igb"
    assert other.exists() == there
    assert not there or other.read_text() == "precious"


def test_a_fifo_does_not_block(store, path):
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(Refused):
        store.load(ADDRESS)


@pytest.mark.parametrize("text", ["[" * 500000, "9" * 500000, "{", "[]", "7", '{"version": 1}'])
def test_what_makes_no_sense_is_damaged(store, path, text):
    path.write_text(text)
    with pytest.raises(Malformed, match="damaged"):
        store.load(ADDRESS)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to give a folder away")
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_another_users_folder_is_refused(store, path, tmp_path, kind):
    folder = path.parent
    if kind == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(Refused, match="another user's"):
        store.put(Saved(ADDRESS, "igb", None, "vfio-pci", "boot", 0.0))


def test_what_is_saved_of_thousands_of_routes_can_be_read(store):
    routes = [
        {"family": 2, "attrs": [["RTA_DST", f"10.0.{i >> 8}.{i & 255}"]]} for i in range(20000)
    ]
    store.put(Saved(ADDRESS, "igb", None, "vfio-pci", "boot", 0.0, {"routes": routes}))
    assert store.load(ADDRESS).network["routes"] == routes
