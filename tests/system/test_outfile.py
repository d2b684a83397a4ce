# SPDX-License-Identifier: Apache-2.0
"""Where packets may be written, and what of others is left alone."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from tests.support.processes import NOBODY, Running, as_nobody
from tests.support.waiting import until
from uspnet.errors import Refused
from uspnet.system.outfile import OutFile


@pytest.fixture
def shared(tmp_path):
    """A folder where anybody may make files, as /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture(params=[0o1777, 0o777])
def open_to_all(shared, request):
    """The same, also without the sticky bit."""
    shared.chmod(request.param)
    return shared


def write(path):
    """Writes a word the way a capture is written. Returns the file's mode."""
    file = OutFile(str(path))
    try:
        fd = file.open()
        os.ftruncate(fd, 0)
        os.write(fd, b"packets")
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        os.close(fd)
    finally:
        file.close()
    return mode


def theirs(path):
    """Gives a file, or a link, to another user."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to give files away")
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return path


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_a_new_file_is_this_users_alone(open_folder, umask):
    before = os.umask(umask)
    try:
        assert write(open_folder / "x") == 0o600
    finally:
        os.umask(before)
    (open_folder / "y").write_text("for all")
    assert "TextIOWrapper" in as_nobody(open, open_folder / "y")
    assert as_nobody(open, open_folder / "x") == "PermissionError"


def test_a_file_of_ours_keeps_its_mode(tmp_path):
    (tmp_path / "x").touch(0o640)
    assert write(tmp_path / "x") == 0o640


@pytest.mark.parametrize("target", ["there", "absent"])
def test_another_users_link_is_refused(open_to_all, tmp_path, target):
    precious = tmp_path / target
    if target == "there":
        precious.write_text("precious")
    link = open_to_all / "x"
    link.symlink_to(precious)
    theirs(link)
    with pytest.raises(Refused, match="another user's link"):
        write(link)
    assert [path.read_text() for path in [precious] if path.exists()] == ["precious"] * (
        target == "there"
    )


def test_another_users_link_is_refused_in_a_folder_of_theirs_and_behind_ours(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "x").symlink_to(tmp_path / "precious")
    theirs(folder / "x")
    theirs(folder)
    (tmp_path / "mine").symlink_to(folder / "x")
    for path in (folder / "x", tmp_path / "mine"):
        with pytest.raises(Refused, match="another user's link"):
            write(path)
    assert not (tmp_path / "precious").exists()


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_another_users_link_is_refused_on_the_way(shared, tmp_path, whose):
    if whose == "theirs":
        shared.chmod(0o755)
        theirs(shared)
    (shared / "way").symlink_to(tmp_path)
    theirs(shared / "way")
    for path in (shared / "way" / "x", shared / "way" / ".." / tmp_path.name / "x"):
        with pytest.raises(Refused, match="another user's link"):
            write(path)


def test_links_of_ours_are_followed(shared, tmp_path, monkeypatch):
    (shared / "way").symlink_to("../real")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").symlink_to("y")
    write(shared / "way" / "x")
    assert (tmp_path / "real" / "y").read_text() == "packets"
    monkeypatch.chdir(tmp_path)
    write("real/../z")
    assert (tmp_path / "z").read_text() == "packets"


def test_a_loop_of_links_is_an_error(tmp_path):
    (tmp_path / "x").symlink_to("x")
    with pytest.raises(OSError, match="Too many levels"):
        write(tmp_path / "x")


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_another_users_file_is_refused_where_anybody_may_make_some(open_to_all, kind):
    path = open_to_all / "x"
    if kind == "fifo":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    else:
        path.write_text("theirs")
    theirs(path)
    with pytest.raises(Refused, match="another user's"):
        write(path)
    if kind == "fifo":
        os.close(reader)
    else:
        assert path.read_text() == "theirs"


def test_a_second_name_is_refused_where_anybody_may_make_some(open_to_all, tmp_path):
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", open_to_all / "x")
    with pytest.raises(Refused, match="other names"):
        write(open_to_all / "x")
    assert (tmp_path / "precious").read_text() == "precious"
    write(tmp_path / "precious")  # where nobody else can make names, that is ours to say


def test_in_another_users_folder_a_file_of_theirs_will_do_and_no_second_name(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", folder / "linked")
    for name in ("own", "third"):
        (folder / name).write_text("x")
        theirs(folder / name)
    os.chown(folder / "third", NOBODY - 1, NOBODY - 1)
    theirs(folder)
    with pytest.raises(Refused, match="other names"):
        write(folder / "linked")
    with pytest.raises(Refused, match="another user's"):
        write(folder / "third")
    write(folder / "own")
    write(folder / "new")
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_has_other_ways_in_works(tmp_path):
    out, into = os.pipe()
    write_to = OutFile(f"/dev/fd/{into}")
    fd = write_to.open()
    os.write(fd, b"packets")
    assert os.read(out, 9) == b"packets"
    for each in (fd, out, into):
        os.close(each)
    write_to.close()
    device = OutFile("/dev/null")
    os.close(device.open())
    device.close()
    os.mkfifo(tmp_path / "fifo")
    fifo = OutFile(str(tmp_path / "fifo"))
    assert fifo.open() == -1
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    os.close(fifo.open())
    os.close(reader)
    fifo.close()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", IsADirectoryError),
        (".", IsADirectoryError),
        ("none/x", FileNotFoundError),
        ("file/x", NotADirectoryError),
        ("none/", FileNotFoundError),
        ("/", IsADirectoryError),
    ],
)
def test_paths_that_lead_nowhere(tmp_path, path, error):
    (tmp_path / "file").touch()
    with pytest.raises(error):
        write(f"{tmp_path}/{path}" if path != "/" else path)


def test_only_the_file_that_was_made_is_removed(tmp_path):
    file = OutFile(str(tmp_path / "x"))
    fd = file.open()
    assert file.created
    os.rename(tmp_path / "x", tmp_path / "y")
    (tmp_path / "x").touch()
    file.remove(fd)
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]
    os.rename(tmp_path / "y", tmp_path / "x")
    file.remove(fd)
    assert os.listdir(tmp_path) == []
    os.close(fd)
    file.close()


def test_capture_says_what_it_refuses_and_writes_for_its_user_alone(shared, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (shared / "x").symlink_to(tmp_path / "precious")
    theirs(shared / "x")
    command = [sys.executable, "-m", "uspnet", "capture", "null:", "-c", "1", "-w"]
    refused = subprocess.run(
        [*command, shared / "x"], capture_output=True, text=True, umask=0o022, check=False
    )
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "another user's link" in refused.stderr
    assert (tmp_path / "precious").read_text() == "precious"
    subprocess.run([*command, tmp_path / "y"], check=True, capture_output=True, umask=0o022)
    assert stat.S_IMODE((tmp_path / "y").stat().st_mode) == 0o600


@pytest.mark.parametrize("fate", ["removed", "moved", "replaced", "left"])
def test_a_file_that_is_not_where_it_was_made_is_told(tmp_path, fate):
    path, port = tmp_path / "x", f"memif:{tmp_path}/m,role=server"
    job = Running([sys.executable, "-m", "uspnet", "capture", port, "-w", path]).wait()
    with job.process:
        until(lambda: path.exists() and path.stat().st_size)
        if fate == "removed":
            path.unlink()
        elif fate != "left":
            path.rename(tmp_path / "y")
        if fate == "replaced":
            path.touch()
        job.process.send_signal(signal.SIGINT)
        code, _, err = job.ends()
    assert code == 0
    assert ("moved, replaced or removed" in err) == (fate != "left")
