# SPDX-License-Identifier: Apache-2.0
"""The conversation with a QEMU monitor that answers anything, or for ever."""

import json
import os
import socket

import pytest

from tests.support.speaker import speaker
from tests.support.waiting import scaled
from uspnet.errors import DeviceFault, DeviceTimeout, UspnetError
from uspnet.transports.qemu import machine as qemu
from uspnet.transports.qemu.machine import Machine


@pytest.fixture
def machine(ends, monkeypatch):
    """One that runs no QEMU."""
    monkeypatch.setattr(qemu, "ANSWER_S", 0.2)
    made = object.__new__(Machine)
    made.name, made.monitor, made._received = "qemu:x", ends[0], b""
    made.modules, made.module_at = 0, 1 << 32
    made.ended = lambda _patience: None
    return made


@pytest.mark.parametrize(
    ("text", "endless"),
    [
        (b"{\n", False),
        (b"[1]\n", False),
        (b"\xff\xfe\n", False),
        (b"7\n", False),
        (b"[" * 60000 + b"\n", False),
        (b"x" * 100000, True),
        (b'{"event": "STOP"}\n', True),
        (b'{"return": {}', False),
        (b'{"return": {}}\n', False),
        (b'{"return": [{"fd": 3}]}\n', False),
        (b'{"return": {"fd": "../../etc"}}\n', False),
        (b'{"error": 7}\n', False),
        (b'{"error": {"class": "x"}}\n', False),
    ],
)
def test_whatever_the_monitor_says_is_an_error_in_time(machine, ends, text, endless):
    with speaker(ends[1], text, endless=endless), pytest.raises((DeviceFault, DeviceTimeout)):
        machine.plug(0, 4096)
    assert len(machine._received) <= 2 * qemu.LINE_MAX


def test_what_qemu_says_of_an_error_reaches_a_terminal_as_text(machine, ends, monkeypatch):
    monkeypatch.setattr(qemu, "ANSWER_S", scaled(5))
    said = {"error": {"desc": "\x1b]0;evil\x07" + "x" * 10000}}
    text = json.dumps(said).encode() + b"\n"
    with speaker(ends[1], text), pytest.raises(UspnetError) as caught:
        machine.monitor_command("stop")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


def test_descriptors_are_passed(machine, ends, monkeypatch):
    monkeypatch.setattr(qemu, "ANSWER_S", scaled(5))
    out, into = os.pipe()
    with speaker(ends[1], b'{"return": {"fd": 9}}\n' + b'{"return": {}}\n' * 2):
        machine.plug(into, 4096)
        data, fds, _, _ = socket.recv_fds(ends[1], 4096, 4)
    assert json.loads(data)["execute"] == "add-fd"
    assert len(fds) == 1
    for fd in (out, into, *fds):
        os.close(fd)
