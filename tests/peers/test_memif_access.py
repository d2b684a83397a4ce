# SPDX-License-Identifier: Apache-2.0
"""Who may connect to a memif socket, and how many at once."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.identity import answer
from tests.support.memif import raw_memif as raw
from tests.support.processes import Running
from tests.support.waiting import until
from uspnet.errors import Usage
from uspnet.ports.memif.access import users
from uspnet.ports.memif.listener import PENDING_MAX, PENDING_OF_ONE
from uspnet.ports.registry import make_port
from uspnet.system.listening import remove_stale

STRANGER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be other users")


@pytest.fixture
def name():
    return f"uspnet-access-{os.getpid()}"


def listening(name):
    return f"@{name}" in Path("/proc/net/unix").read_text(errors="replace")


class Stranger:
    """A process of another user that runs a little Python with `address` and `raw`."""

    def __init__(self, source, address, user=STRANGER):
        text = f"import socket, time\naddress = {address!r}\n" + source
        switch = ["setpriv", f"--reuid={user}", "--clear-groups", "--inh-caps=-all"]
        self.process = subprocess.Popen(
            [*switch, "/usr/bin/env", "python3", "-c", text], stdout=subprocess.PIPE, text=True
        )

    def line(self):
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.kill()
        self.process.communicate()


CONNECT = """
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.settimeout(5)
try: sock.connect(address)
except OSError as error: print(error.strerror, flush=True)
else:
    data = sock.recv(256)
    print(data[0], data[6:102].split(b"\\0")[0].decode() if data[0] == 8 else "", flush=True)
"""
FLOOD = """
held = []
while True:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setblocking(False)
    try: sock.connect(address)
    except OSError: continue
    held.append(sock)
    if len(held) == 1: print("flooding", flush=True)
    if len(held) > 100: held.pop(0).close()
"""


@pytest.fixture
def stranger():
    """Starts processes of other users."""
    if os.geteuid():
        pytest.skip("needs root: to be other users")
    started = []

    def start(*args, **more):
        started.append(Stranger(*args, **more))
        return started[-1]

    yield start
    for one in started:
        one.end()


# -- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077, 0o777])
def test_a_path_lets_user_and_group_in_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    port = make_port(f"memif:{tmp_path}/m,role=server")
    try:
        port.open()
        assert stat.S_IMODE(os.stat(tmp_path / "m").st_mode) == 0o660
    finally:
        os.umask(before)
        port.close()
    assert not (tmp_path / "m").exists()


def test_a_path_goes_from_the_folder_where_it_was_made(tmp_path):
    folder, moved = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    port = make_port(f"memif:{folder}/m,role=server")
    port.open()
    folder.rename(moved)
    folder.mkdir()
    (folder / "m").touch()
    port.close()
    assert list(moved.iterdir()) == []
    assert [path.name for path in folder.iterdir()] == ["m"]


def test_a_path_that_was_left_is_removed_from_its_open_folder_alone(tmp_path):
    folder, moved = tmp_path / "a", tmp_path / "b"
    for _ in range(2):
        if folder.exists():
            folder.rename(moved)
        folder.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
            left.bind(f"{folder}/m")
    fd = os.open(moved, os.O_PATH)
    remove_stale(f"{folder}/m", fd)
    os.close(fd)
    assert [path.parent for path in tmp_path.glob("*/m")] == [folder]


@needs_root
def test_who_keeps_a_path_costs_no_result(tmp_path):
    folder, sock = tmp_path, tmp_path / "m"
    os.chown(folder, STRANGER, STRANGER)
    folder.chmod(0o1777)
    port = f"memif:{sock},role=server"
    job = Running([sys.executable, "-m", "uspnet", "capture", port, "--json"]).wait()
    with job.process:
        until(sock.exists)
        status = Path(f"/proc/{job.process.pid}/status")
        until(lambda: "NoNewPrivs:\t1" in status.read_text())
        folder.chmod(0o700)
        job.process.send_signal(signal.SIGINT)
        code, out, err = job.ends()
    assert (code, answer(out)["received"]) == (0, 0)
    assert "the socket stays: Permission denied" in err


def test_an_abstract_name_is_open_to_all_but_those_that_allow_leaves_out(uspnet, name, stranger):
    job = uspnet("capture", f"memif:@{name},role=server,allow=root+1")
    until(lambda: listening(name))
    assert stranger(CONNECT, f"\0{name}").line() == "8 User not allowed"
    assert stranger(CONNECT, f"\0{name}", user=1).line() == "2"
    good = uspnet("pktgen", f"memif:@{name}", "--count", 100)
    assert good.result()["sent"] == 100
    assert job.interrupt()["received"] == 100
    job = uspnet("capture", f"memif:@{name},role=server")
    until(lambda: listening(name))
    assert stranger(CONNECT, f"\0{name}").line() == "2"
    job.interrupt()


def test_each_port_of_a_socket_has_its_own_users(uspnet, name, stranger):
    ports = [f"memif:@{name},role=server,allow=2", f"memif:@{name},role=server,id=1,allow=root"]
    job = uspnet("fwd", *ports)
    until(lambda: listening(name))
    assert stranger(CONNECT, f"\0{name}", user=2).line() == "2"
    refused = uspnet("pktgen", f"memif:@{name}", "--count", 1).result()
    assert refused["error"] == "PeerFault"
    assert "User not allowed" in refused["message"]
    assert "allow=" in refused["hint"]
    assert uspnet("pktgen", f"memif:@{name},id=1", "--count", 10).result()["sent"] == 10
    job.interrupt()


@needs_root
def test_a_client_may_choose_its_server_by_user(uspnet, name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        os.seteuid(STRANGER)
        try:
            listener.bind(f"\0{name}")
            listener.listen()
        finally:
            os.seteuid(0)
        result = uspnet("pktgen", f"memif:@{name},allow=root").result()
    assert (result["exit"], result["error"]) == (1, "PeerFault")
    assert f"the server's user is {STRANGER}" in result["message"]


@pytest.mark.parametrize(
    ("text", "value"), [("root", {0}), ("0", {0}), ("root+5", {0, 5}), ("4294967294", {2**32 - 2})]
)
def test_users_are_read(text, value):
    assert users(text) == value


@pytest.mark.parametrize("text", ["", "+", "nobody-of-that-name", "root+", "-1", "²"])
def test_what_is_no_user_is_refused(text):
    with pytest.raises(Usage):
        make_port(f"memif:@x,allow={text}")


# -- how many -------------------------------------------------------------------------------------


@pytest.mark.full
def test_a_flood_of_one_user_does_not_keep_another_out(uspnet, name, stranger):
    job = uspnet("capture", f"memif:@{name},role=server")
    until(lambda: listening(name))
    assert stranger(FLOOD, f"\0{name}").line() == "flooding"
    for _ in range(3):
        good = uspnet("pktgen", f"memif:@{name},wait=20", "--count", 1000)
        assert good.result()["sent"] == 1000
    assert job.interrupt()["received"] == 3000


def test_a_flood_of_the_own_user_does_not_either(uspnet, name):
    job = uspnet("capture", f"memif:@{name},role=server")
    until(lambda: listening(name))
    end, held = threading.Event(), []

    def flood():
        while not end.is_set():
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            with contextlib.suppress(OSError):
                sock.connect(f"\0{name}")
            held.append(sock)
            if len(held) > 100:
                held.pop(0).close()

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        good = uspnet("pktgen", f"memif:@{name},wait=20", "--count", 1000)
        assert good.result()["sent"] == 1000
    finally:
        end.set()
        thread.join()
        for sock in held:
            sock.close()
    assert job.interrupt()["received"] == 1000


def test_pending_connections_are_few(name):
    port = make_port(f"memif:@{name},role=server")
    port.open()
    socks = []
    try:
        port.start()
        for _ in range(3 * PENDING_OF_ONE):
            socks.append(raw.connect(f"\0{name}"))
            port.control()
        assert len(port.listener.pending) == PENDING_OF_ONE
        for session in port.listener.pending:  # as if each were of another user
            session.user = id(session)
        for number in range(3 * PENDING_MAX):
            socks.append(raw.connect(f"\0{name}"))
            port.control()
            port.listener.pending[-1].user = -number
        assert len(port.listener.pending) == PENDING_MAX
    finally:
        for sock in socks:
            sock.close()
        port.close()


def test_without_descriptors_clients_wait_and_the_main_thread_rests(name):
    port = make_port(f"memif:@{name},role=server")
    told, socks = [], []
    port.notice = told.append
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    port.open()
    try:
        port.start()
        socks = [raw.connect(f"\0{name}") for _ in range(3)]
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            for _ in range(10):
                port.control()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert len(told) == 1
        assert "Too many open files" in told[0]
        assert "ulimit -n" in told[0]
        assert not port.control_fds(), "nothing calls for it until it has rested"
        until(lambda: port.control() or len(port.listener.pending) == 3)
    finally:
        for sock in socks:
            sock.close()
        port.close()


def test_a_client_without_descriptors_says_so(name):
    port = make_port(f"memif:@{name}")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    port.open()
    port.start()
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(MemoryError, match="Too many open files"):
            port.control()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        port.close()


def test_a_client_tries_again_while_the_server_is_busy(uspnet, name):
    """It is told "Too many connections" at first, in place of a greeting."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        job = uspnet("pktgen", f"memif:@{name},wait=20", "--count", 100)
        for _ in range(5):
            with listener.accept()[0] as sock:
                raw.say(sock, raw.message(raw.DISCONNECT, 0, b"Too many connections"))
    sink = uspnet("capture", f"memif:@{name},role=server", "--count", 100)
    assert sink.result()["received"] == job.result()["sent"] == 100
