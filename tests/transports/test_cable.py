# SPDX-License-Identifier: Apache-2.0
"""Cables: two ends in either order, by name or by path, and what is left when an end goes."""

import contextlib
import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from tests.support.processes import NOBODY, as_nobody
from uspnet.errors import Busy, NoDevice, Refused, Usage
from uspnet.system import folders
from uspnet.transports.qemu.cable import Loop, WireEnd


@pytest.fixture(autouse=True)
def own(open_folder, monkeypatch):
    """The folder that named wires lie in."""
    monkeypatch.setattr(folders, "RUNTIME", open_folder)
    monkeypatch.setattr(folders, "FALLBACK", open_folder)
    return open_folder


@pytest.fixture(params=["name", "path"])
def name(request, tmp_path):
    return f"test-{os.getpid()}" if request.param == "name" else f"{tmp_path}/wire"


def test_a_frame_goes_from_end_to_end(name):
    with closing(WireEnd(name)) as a:
        assert not a.present()
        with closing(WireEnd(name)) as b:
            assert a.present()
            assert not a.join(), "b isn't ready"
            assert b.join()
            assert a.join()
            a.socket.send(b"to b")
            b.socket.send(b"to a")
            assert (a.socket.recv(9), b.socket.recv(9)) == (b"to a", b"to b")
        assert not a.present()
        a.part()
        with closing(WireEnd(name)) as again:
            assert again.present()
            assert not again.join()
            assert a.join()
            assert again.join()


def test_nobody_can_send_to_an_end_that_is_not_ready(name):
    with closing(WireEnd(name)) as a, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        with pytest.raises(PermissionError):
            stranger.sendto(b"frame", a.mine)
        a.join()
        stranger.sendto(b"frame", a.mine)
        a.part()
        with pytest.raises(PermissionError):
            stranger.sendto(b"frame", a.mine)


def test_a_wire_has_two_ends(name):
    with closing(WireEnd(name)), closing(WireEnd(name)), pytest.raises(Busy, match="both ends"):
        WireEnd(name)


def test_nothing_is_left_of_a_closed_wire(tmp_path):
    with closing(WireEnd(f"{tmp_path}/wire")):
        assert os.listdir(tmp_path) == ["wire.a"]
    assert os.listdir(tmp_path) == []


def test_an_end_that_was_killed_is_taken_over(tmp_path):
    path = f"{tmp_path}/wire"
    script = (
        "import os; from uspnet.transports.qemu.cable import WireEnd; "
        f"e = WireEnd({path!r}); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert os.listdir(tmp_path) == ["wire.a"]
    with closing(WireEnd(path)) as end:
        assert end.mine == f"{path}.a"


@pytest.mark.parametrize("end", ["a", "b"])
def test_a_file_that_is_no_socket_is_left_alone(tmp_path, end):
    file = tmp_path / f"lib.{end}"
    file.write_text("precious")
    with contextlib.ExitStack() as ends:
        if end == "b":
            ends.enter_context(closing(WireEnd(f"{tmp_path}/lib")))
        with pytest.raises(Busy, match=rf"lib\.{end} is there and is not a socket"):
            WireEnd(f"{tmp_path}/lib")
    assert file.read_text() == "precious"


def test_any_program_can_hold_an_end_of_a_path(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
        mine.bind(f"{tmp_path}/wire.a")
        with closing(WireEnd(f"{tmp_path}/wire")) as end:
            assert end.present()
            assert end.join()
            mine.sendto(b"frame", end.mine)
            assert end.socket.recv(9) == b"frame"


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(NoDevice, match="no such folder"):
        WireEnd(f"{tmp_path}/none/wire")


@pytest.mark.parametrize("make", [os.mkfifo, os.mknod])
def test_what_is_no_folder_is_said_at_once(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(NoDevice, match="no such folder"):
        WireEnd(f"{tmp_path}/x/lan")


def test_a_loop_returns_what_it_is_given():
    with closing(Loop()) as loop:
        loop.socket.send(b"frame")
        assert loop.socket.recv(9) == b"frame"


# -- strangers ------------------------------------------------------------------------------------


def test_a_named_wire_lies_in_a_folder_of_its_user(own):
    with closing(WireEnd("lan")) as end:
        (folder,) = own.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert os.path.dirname(end.mine) == str(folder)
        assert os.stat(end.mine).st_mode & 0o077 == 0
    assert list(own.iterdir()) == []


def use(way, name):
    """What a stranger gets for connecting to a socket, or making one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        getattr(sock, way)(name)
    return "done"


def test_a_stranger_can_neither_send_to_a_wire_nor_hold_its_far_end(own):
    with closing(WireEnd("lan")) as end:
        end.join()
        for way, name in (("connect", end.mine), ("bind", end.far)):
            assert as_nobody(use, way, name) == "PermissionError"
        os.chmod(os.path.dirname(end.mine), 0o711)
        assert as_nobody(use, "connect", end.mine) == "PermissionError", "the socket's own mode"
        with open("/proc/net/unix", errors="replace") as sockets:
            assert not any("wire" in line for line in sockets if "@" in line), (
                "no names of that kind"
            )


@pytest.mark.parametrize("thing", ["a stranger's", "open to all", "a link", "a file"])
def test_a_folder_that_is_not_this_users_alone_is_refused(own, tmp_path, thing):
    folder = own / ("uspnet" if os.geteuid() == 0 else f"uspnet-{os.geteuid()}")
    if thing == "a link":
        tmp_path.chmod(0o700)
        folder.symlink_to(tmp_path)
    elif thing == "a file":
        folder.touch(0o700)
    else:
        folder.mkdir(0o700)
        folder.chmod(0o755 if thing == "open to all" else 0o700)
        if thing == "a stranger's":
            if os.geteuid() != 0:
                pytest.skip("needs root: to give a folder away")
            os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(Refused, match="not a folder of this user alone"):
        WireEnd("lan")


def test_what_killed_programs_left_is_removed_by_the_next(own):
    with closing(WireEnd("kept")) as kept:
        for name in ("one", "two"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.bind(f"{os.path.dirname(kept.mine)}/{name}.a")
        with closing(WireEnd("three")) as end:
            left = sorted(os.listdir(os.path.dirname(end.mine)))
            assert left == ["kept.a", "three.a"]


def test_a_path_that_others_may_change_is_refused(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(Refused, match="another user may change"):
        WireEnd(f"{shared}/lan")
    (shared / "mine").mkdir(0o700)
    with pytest.raises(Refused, match="another user may change"):
        WireEnd(f"{shared}/mine/lan")
    shared.chmod(0o1777)  # what is mine in it stays mine
    WireEnd(f"{shared}/lan").close()


def test_a_path_is_used_without_the_links_in_it_as_it_was_checked(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    end = WireEnd(f"{tmp_path}/link/lan")
    assert end.mine == f"{tmp_path}/real/lan.a"
    end.close()


def test_a_far_end_of_another_user_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: to give a socket away")
    tmp_path.chmod(0o1777)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(f"{tmp_path}/lan.b")
        os.chown(f"{tmp_path}/lan.b", NOBODY, NOBODY)
        with closing(WireEnd(f"{tmp_path}/lan")) as end, pytest.raises(Refused, match="another"):
            end.present()


def test_a_name_that_is_too_long_is_said():
    with pytest.raises(Usage, match="too long"):
        WireEnd("n" * 100)


def test_nothing_that_was_sent_before_a_loop_was_closed_comes_back(monkeypatch):
    """A stranger may guess the name that the kernel chose."""
    connect = socket.socket.connect

    def late(sock, address):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"evil", address)
        connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", late)
    with closing(Loop()) as loop, pytest.raises(BlockingIOError):
        loop.socket.recv(9, socket.MSG_DONTWAIT)
