# SPDX-License-Identifier: Apache-2.0
"""Cables: two ends in either order, by name or by path, and what is left when an end goes."""

import contextlib
import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from uspnet.errors import Busy, NoDevice
from uspnet.wire import Loop, WireEnd


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
    script = f"import os; from uspnet.wire import WireEnd; e = WireEnd({path!r}); os._exit(0)"
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


def test_a_loop_returns_what_it_is_given():
    with closing(Loop()) as loop:
        loop.socket.send(b"frame")
        assert loop.socket.recv(9) == b"frame"
