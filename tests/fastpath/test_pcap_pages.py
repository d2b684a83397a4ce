# SPDX-License-Identifier: Apache-2.0
"""A mapped file that is read takes no more memory than a small part of it."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import struct
from pathlib import Path

import pytest

from tests.support.pcap_rig import Reader, classic
from uspnet.fastpath import lib
from uspnet.mapping import Mapping
from uspnet.ports.registry import make_port

FRAMES = [struct.pack("I", number) * 350 for number in range(8000)]  # 11 MB
HEAD = classic()[:24]
MOST = 2 * lib.PCAP_HELD + (1 << 20)  # the kernel maps pages around the one that is read, too


class Mapped(Reader):
    """The ring on a mapped file."""

    def __init__(self, path: Path) -> None:
        super().__init__(b"", room=1522)
        fd = os.open(path, os.O_RDONLY)
        size = os.fstat(fd).st_size
        self.file = Mapping(fd, size, flags=lib.MEMORY_READ_ONLY)
        self.c.base, self.c.size, self.c.mapped = self.file.base, size, 1

    def resident(self) -> int:
        """Bytes of the file that this process has in memory."""
        maps = Path("/proc/self/smaps").read_text()
        own = re.search(
            rf"^{self.file.address:x}-.*?\nRss: +(\d+) kB", maps, re.MULTILINE | re.DOTALL
        )
        assert own
        return int(own[1]) << 10

    def close(self) -> None:
        self.file.close()
        super().close()


@pytest.fixture
def mapped(tmp_path):
    """A file of 11 MB."""
    records = (struct.pack("4I", 1, 1, len(frame), len(frame)) + frame for frame in FRAMES)
    (tmp_path / "x").write_bytes(HEAD + b"".join(records))
    reader = Mapped(tmp_path / "x")
    yield reader
    reader.close()


def test_pages_that_were_read_are_given_back(mapped):
    mapped.c.loop = lib.PCAP_IN_TURNS
    for _ in range(2):  # a second pass reads them again
        found, most = [], 0
        while not mapped.c.q.ended:
            found += [frame for _, frame in mapped.burst()]
            if len(found) % 512 == 0:
                most = max(most, mapped.resident())
        assert found == FRAMES
        assert mmap.PAGESIZE < most <= MOST < mapped.c.size / 3
        mapped.c.q.ended = 0


def test_a_survey_gives_them_back_too(mapped):
    while lib.pcap_survey(mapped.c, 100):
        assert mapped.resident() <= MOST
    assert mapped.c.longest == len(FRAMES[0])
    assert mapped.resident() <= MOST
    assert [frame for _, frame in mapped.burst()] == FRAMES[:32]


def test_what_is_not_a_mapped_file_keeps_its_pages(mapped):
    mapped.c.mapped = 0
    while mapped.burst():
        pass
    assert mapped.resident() > MOST


def test_a_small_file_that_is_read_again_keeps_them_too(tmp_path):
    path, again = tmp_path / "x.pcap", []
    path.write_bytes(classic())
    for passes, size in ((False, 0), (True, 0), (True, lib.PCAP_KEPT), (True, lib.PCAP_KEPT + 1)):
        if size:
            os.truncate(path, size)
        with contextlib.closing(make_port(f"pcap:{path}")) as port:
            if passes:
                port.pass_by_pass(forever=True)
            port.open()
            again.append(bool(port.c.mapped))
    assert again == [True, False, False, True]
