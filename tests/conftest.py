# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several tests share: network namespaces, and what runs inside them."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.far import far  # noqa: F401 - a fixture
from tests.sanitized import sanitized  # noqa: F401 - a fixture
from tests.station import make_frames, qemu, station  # noqa: F401 - fixtures

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 0x0003
NOBODY = 65534
NUMBERS = itertools.count()
ROOT = Path(__file__).resolve().parent.parent
UNPACKED_QEMU = ROOT / "build/qemu/bin/qemu-system-x86_64"  # by tools/qemu.sh
if UNPACKED_QEMU.exists():
    os.environ.setdefault("USPNET_QEMU", str(UNPACKED_QEMU))
# A shell ignores these for what it runs in the background, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup, and we go on as it has it
    signal.signal(signal.SIGHUP, lambda *_: None)
WORK_S = 0.02  # what work() takes on an idle machine
SLOWNESS_MAX = 10.0


def work():
    """Something to do, always the same."""
    for _ in range(500_000):
        pass


def slowness():
    """How much longer than on an idle machine things take here and now; at least 1."""
    start = time.monotonic()
    work()
    return min(max((time.monotonic() - start) / WORK_S, 1.0), SLOWNESS_MAX)


def moments(seconds, pause=0.01):
    """Yields now and then until the time is over. A machine that is slow or busy at the end of it
    has more, once."""
    end, extended = time.monotonic() + seconds, False
    while True:
        yield
        if time.monotonic() > end:
            if extended:
                return
            end, extended = end + seconds * slowness(), True
        time.sleep(pause)


def until(true, seconds=10.0):
    """Waits until `true()` is, and returns what it gave. Fails after a generous time."""
    for _ in moments(seconds):
        if result := true():
            return result
    raise AssertionError("waited in vain")


def pytest_terminal_summary(terminalreporter):
    """What this machine could not run: one line a cause, however many tests it stopped."""
    skipped = terminalreporter.stats.get("skipped", [])
    causes = Counter(
        str(report.longrepr[-1]).removeprefix("Skipped: ")  # after its file and line
        for report in skipped
    )
    if causes:
        terminalreporter.section("not run here")
    for cause, count in causes.most_common():
        terminalreporter.write_line(f"{count:5} x {cause}")


def pcap_frames(path):
    """Every frame of a pcap file."""
    data, at, frames = path.read_bytes(), 24, []
    while at + 16 <= len(data):  # it may be written still
        length = struct.unpack_from("I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


def qemus_of(parent):
    """Process ids of the children of a process."""
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def alive(pid):
    """Does it run? A zombie that nobody reaps does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def as_nobody(call, *arguments):
    """Calls a function as a user without privileges. Returns its result as text, or the name of
    what it raised.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            said = str(call(*arguments))
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = type(error).__name__
        os.write(into, said.encode())
        os._exit(0)
    os.close(into)
    with open(out) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


class Running:
    """A uspnet process: started, known to be moving packets, and ended by a signal."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.said = ""

    def ports(self):
        """Its counters now, one dict a port; none before its workers run."""
        from uspnet.telemetry import look

        return [port for job in look(self.process.pid).jobs for port in job.ports]

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def wait(self):
        """Until its workers run."""
        until(lambda: (self.ports() and self.threads() > 1) or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()
        return self

    def hears(self, text, seconds=10.0):
        """Waits until it has said something on stderr."""
        fd = self.process.stderr.fileno()

        def heard():
            if select.select([fd], [], [], 0)[0]:
                self.said += os.read(fd, 65536).decode()
            return text in self.said

        until(heard, seconds)
        self.said = self.said.partition(text)[2]

    def count(self, name):
        return sum(port[name] for port in self.ports())

    def end(self, number=signal.SIGINT):
        """Ends it with a signal. Returns its JSON object."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return json.loads(out)

    def ends(self):
        """Waits for it to end by itself. Returns exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


class Namespace:
    """A network namespace of the test's own."""

    def __init__(self):
        self.name = f"uspnet-test-{os.getpid()}-{next(NUMBERS)}"
        self.started, self.sockets = [], []
        subprocess.run(["ip", "netns", "add", self.name], check=True)

    def prepare(self):
        """Sets a new one up. Nothing may send there unasked, as IPv6 would."""
        if Path("/proc/sys/net/ipv6").exists():
            self.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            self.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        self.ip("link", "set", "lo", "up")

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words, **more):
        more = {"check": True, "capture_output": True, "text": True, "cwd": ROOT, **more}
        return subprocess.run(self.command(*words), **more)  # noqa: PLW1510 - in `more`

    def ip(self, *words):
        return self.run("ip", *words).stdout

    def veth(self, a, b, mtu=1500):
        """A pair of interfaces, up: what enters one leaves the other."""
        self.ip("link", "add", "name", a, "mtu", mtu, "type", "veth", "peer", "name", b, "mtu", mtu)
        for name in (a, b):
            self.ip("link", "set", "dev", name, "up")

    def link(self, name):
        """What `ip` knows of an interface."""
        return json.loads(self.ip("-json", "-details", "link", "show", "dev", name))[0]

    def links(self):
        return {link["ifname"] for link in json.loads(self.ip("-json", "link"))}

    def uspnet(self, *words, check=True):
        """Runs uspnet to its end. Returns the process, with text in stdout and stderr."""
        return self.run(sys.executable, "-m", "uspnet", *words, check=check, timeout=120)

    def start(self, *words):
        """Starts uspnet with --json, and returns it once it moves packets."""
        running = Running(self.command(sys.executable, "-m", "uspnet", *words, "--json"))
        self.started.append(running)
        return running.wait()

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace; sockets opened here stay in it."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as home:
            with Path(f"/run/netns/{self.name}").open() as inside:
                assert libc.setns(inside.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0

    def socket(self, ifname, timeout=2.0):
        """A raw socket on an interface: the other end of what is tested."""
        with self.entered():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            sock.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
            sock.setsockopt(263, 8, 1)  # PACKET_AUXDATA: VLAN tags travel beside the frame
            sock.bind((ifname, ETH_P_ALL))
        sock.settimeout(timeout)
        return sock

    def close(self):
        for sock in self.sockets:
            sock.close()
        for running in self.started:
            if running.process.poll() is None:
                running.process.kill()
            running.process.communicate()
        subprocess.run(["ip", "netns", "delete", self.name], check=True)


@pytest.fixture
def namespaces():
    """Makes namespaces; all are gone after the test."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not shutil.which("ip"):
        pytest.skip("iproute2 is not installed")
    with contextlib.ExitStack() as undo:

        def make():
            namespace = Namespace()
            undo.callback(namespace.close)
            namespace.prepare()
            return namespace

        yield make


@pytest.fixture
def namespace(namespaces):
    """One network namespace, empty but for `lo`."""
    return namespaces()


@pytest.fixture
def open_folder():
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
def needs():
    """Skips the test when a program is missing: `needs("tcpdump")`."""

    def check(program):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")

    return check
