# SPDX-License-Identifier: Apache-2.0
"""`uspnet fwd` between emulated NICs of any two kinds, with both far ends held here; and what is
left when one is killed. Tier `all` takes every pair.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.support.cable_end import FarEnd
from tests.support.identity import answer
from tests.support.processes import alive, children_named, children_of
from tests.support.tiers import by_tier, full
from tests.support.waiting import moments, scaled, until
from uspnet.errors import NotSupported
from uspnet.ports.qemu import models
from uspnet.ports.registry import make_port

MODELS = sorted(models())
STARTS = by_tier(2, 2, 100)  # of each pair
KILLS = by_tier(2, 2, 50)  # of each model
NEIGHBOURS = [(a, b) for a, b in zip(MODELS, MODELS[1:] + MODELS[:1], strict=True) if a != b]
EACH_PAIR = list(itertools.combinations_with_replacement(MODELS, 2))
PAIRS = by_tier(NEIGHBOURS, NEIGHBOURS, EACH_PAIR)
WINDOW = 256  # frames under way on each wire
PATIENCE_S = 30.0
LOSSES = ["rx_errors", "rx_dropped", "rx_missed_errors", "tx_errors", "tx_dropped"]
COMMAND = [sys.executable, "-m", "uspnet"]
PROBE = b"\xff" * 12 + b"\x88\xb5" + bytes(46)
pytestmark = pytest.mark.usefixtures("qemu")


class Stranger(FarEnd):
    """The far end of another process's port, which may not be ready. `got`: what has arrived,
    PROBEs aside; `probes`: how many of those have.
    """

    probes = 0

    def take(self):
        super().take()
        frames = [frame for frame in self.got if frame != PROBE]
        self.probes += len(self.got) - len(frames)
        self.got = frames

    def give(self, frame):
        """True when the wire had room, and somebody listened."""
        try:
            return super().give(frame)
        except OSError:
            return False


@pytest.fixture
def ends(tmp_path):
    """The far ends of two wires, left and right."""
    made = Stranger(tmp_path / "left"), Stranger(tmp_path / "right")
    yield made
    for end in made:
        end.socket.close()


def need(*names):
    """Skips when this QEMU lacks a model."""
    for name in names:
        try:
            make_port(f"qemu:{name}").check()
        except NotSupported as error:
            pytest.skip(f"this QEMU is too old: {error}")


@pytest.fixture
def forward(tmp_path):
    """`forward(left, right)`: a running `uspnet fwd` between two models, each on its wire."""
    started = []

    def start(left, right):
        ports = [f"qemu:{left},wire={tmp_path}/left", f"qemu:{right},wire={tmp_path}/right"]
        command = [*COMMAND, "fwd", *ports, "--on-full", "wait", "--json"]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def result(process):
    """What it printed at its end."""
    return answer(process.communicate(timeout=scaled(PATIENCE_S))[0])


def meet(process, ends):
    """Waits until frames pass both ways; until then a port drops what the other can't send.
    Returns the number of probes sent.
    """
    sent = 0
    for end in ends:
        end.probes = 0
        end.got.clear()
    for _ in moments(PATIENCE_S, 0.02):
        sent += sum(end.give(PROBE) for end in ends)
        for end in ends:
            end.take()
        if all(end.probes for end in ends) or process.poll() is not None:
            return sent
    raise AssertionError([end.probes for end in ends])


def pass_all(process, ends, frames):
    """Sends frames into both ends at once, until all have come out of the other one."""
    sent = [0, 0]
    for _ in moments(PATIENCE_S, 0):
        if all(len(end.got) >= len(frames) for end in ends) or process.poll() is not None:
            return
        for i, end in enumerate(ends):
            end.take()
            most = min(len(frames), len(ends[1 - i].got) + WINDOW)
            while sent[i] < most and end.give(frames[sent[i]]):
                sent[i] += 1
    raise AssertionError((sent, [len(end.got) for end in ends]))


@pytest.mark.full
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_both_ways_at_once_and_again_after_a_stop(forward, ends, make_frames, left, right):
    need(left, right)
    frames = make_frames(1000)
    for _ in range(STARTS):
        process = forward(left, right)
        probes = meet(process, ends)
        pass_all(process, ends, frames)
        process.send_signal(signal.SIGINT)
        found = result(process)
        assert process.returncode == 0
        assert [end.got == frames for end in ends] == [True, True]
        came = 2 * len(frames) + sum(end.probes for end in ends)
        assert found["forwarded"] == came
        assert found["dropped"] == 2 * len(frames) + probes - came
        assert not any(port[name] for port in found["ports"] for name in LOSSES)


@pytest.mark.parametrize(("left", "right"), NEIGHBOURS)
def test_a_killed_qemu_ends_the_command_with_a_hint(forward, ends, left, right):
    need(left, right)
    process = forward(left, right)
    meet(process, ends)
    children = children_of(process.pid)
    os.kill(children_named(process.pid, "qemu")[-1], signal.SIGKILL)
    found = result(process)
    assert process.returncode == 1
    assert found["error"] == "DeviceFault"
    assert "signal 9" in found["message"]
    assert found["hint"]
    assert found["received"] == found["forwarded"] + found["dropped"]
    until(lambda: not any(alive(child) for child in children))


@pytest.mark.parametrize("model", [*MODELS[:1], *full(*MODELS[1:])])
def test_a_killed_uspnet_leaves_nothing(tmp_path, model):
    """At random moments: while QEMU starts, while packets pass."""
    need(model)
    moments = random.Random(model)
    home = os.environ | {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    ports = [f"qemu:{model},loop=on", "--rx-port", f"qemu:{model},loop=on", "--quiet"]
    for number in range(KILLS):
        with subprocess.Popen(
            [*COMMAND, "pktgen", *ports], env=home, stderr=subprocess.DEVNULL
        ) as process:
            if number % 2:
                until(lambda: children_named(process.pid, "qemu") or process.poll() is not None)
            time.sleep(moments.uniform(0.0, 2.0))
            children = children_of(process.pid)
            process.kill()
        until(lambda: not any(alive(child) for child in children))  # noqa: B023 - used at once
    assert list(tmp_path.iterdir()) == []
