# SPDX-License-Identifier: Apache-2.0
"""QEMU's own capture of an emulated NIC's cable, and uspnet's behind the NIC, are the same."""

import subprocess
import sys

import pytest

from tests.peers.test_nic_fwd import MODELS, Stranger, need
from tests.support.captures import pcap_frames
from tests.support.waiting import until
from uspnet.transports.qemu.machine import binary

pytestmark = pytest.mark.usefixtures("qemu")
DUMPING = """#!/bin/sh
exec {binary} "$@" -object filter-dump,id=dump,netdev=wire,file={file}
"""


@pytest.fixture
def dump(tmp_path, monkeypatch):
    """The file into which every QEMU that is started from now on writes its cable's frames."""
    script, file = tmp_path / "qemu", tmp_path / "dump.pcap"
    script.write_text(DUMPING.format(binary=binary(), file=file))
    script.chmod(0o755)

    def begin():
        monkeypatch.setenv("USPNET_QEMU", str(script))
        return file

    return begin


@pytest.mark.parametrize("model", MODELS)
def test_both_captures_hold_the_same_frames(model, dump, tmp_path, make_frames):
    need(model)
    theirs, ours = dump(), tmp_path / "ours.pcap"
    frames = make_frames(1000)
    far = Stranger(tmp_path / "wire")
    command = ["capture", f"qemu:{model},wire={tmp_path}/wire", "-w", ours, "-F", "pcap"]
    with subprocess.Popen([sys.executable, "-m", "uspnet", *command, "-c", "1000"]) as process:
        for frame in frames:
            until(lambda: process.poll() is not None or far.give(frame))  # noqa: B023 - at once
    far.socket.close()
    assert process.returncode == 0
    assert pcap_frames(ours) == pcap_frames(theirs) == frames
