# SPDX-License-Identifier: Apache-2.0
"""The process that writes several files, as an object: what a file takes that is full."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest

from tests.fastpath.test_pcap_sink import Ring
from uspnet.fastpath import ffi, lib
from uspnet.ports.pcap.format import statistics
from uspnet.ports.pcap.notes import gated
from uspnet.ports.pcap.output import Output
from uspnet.ports.pcap.parts import COUNTS, DONE, ENDLESS, LAST, TAIL, Part, Parts
from uspnet.ports.pcap.ring import Ring as RingOfFiles
from uspnet.ports.pcap.writer import _Child
from uspnet.spec import parse

PACKET = 92  # bytes of a block around 60


@pytest.fixture
def rings():
    """Of packets, and of blocks without packets."""
    made = [Ring(lib.PCAP_NG), Ring(lib.PCAP_NG)]
    yield made
    for ring in made:
        ring.pool.close()


@pytest.fixture
def writing(tmp_path, rings):
    """Returns the process that writes files of so many bytes."""
    opened = []

    def begin(octets):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watched = os.pipe()
        both = ffi.new("struct pcap_ring[]", [ring.ring[0] for ring in rings])
        part = Part(asks=True, octets=octets)
        writer = SimpleNamespace(bell=-1, user=0, shared=rings[0].shared, rings=both, part=part)
        out = os.open(tmp_path / "1", os.O_RDWR | os.O_CREAT)
        child = _Child(out, writer, watched[0], None)
        child.file, child.parts = Output(out, None), Parts(theirs.detach(), watched[0], part)
        child.command = ours
        opened.extend([child, ours, watched])
        return child

    yield begin
    child, ours, watched = opened
    ours.close()
    child.parts.line.close()
    for fd in (*watched, child.file.fd):
        os.close(fd)


def test_a_full_file_takes_statistics(writing, rings, tmp_path):
    """They may come when the last packet went beyond the limit, and before the next one."""
    child = writing(100)
    packets, notes = rings
    block = statistics(0, 0, 0, {}, "")
    assert packets.send(2, 60) == 2
    assert lib.pcap_note(notes.c, ffi.from_buffer("uint8_t[]", 2 * block), 2 * len(block))
    child.drain(least=1)
    assert (tmp_path / "1").stat().st_size == 2 * (PACKET + len(block))
    assert (child.parts.packets, child.parts.octets) == (2, 2 * (PACKET + len(block)))


def test_statistics_wait_for_the_packets_that_they_count(writing, rings, tmp_path):
    """They have the packets that are in files by then, however many were known when they came."""
    child = writing(ENDLESS)
    packets, notes = rings
    block = statistics(7, 0, 0, {4: 9, 6: 8, 8: 7}, "text")
    assert packets.send(2, 60) == 2
    for place in (int(packets.ring.positions.published), 1 << 40):
        note = gated([(place, 7)], block)
        assert lib.pcap_note(notes.c, ffi.from_buffer("uint8_t[]", note), len(note))
    child.drain(least=1)
    assert (tmp_path / "1").read_bytes()[2 * PACKET :] == statistics(
        7, 0, 0, {4: 4, 6: 3, 8: 2}, "text"
    )
    child.write_notes(None)
    assert (tmp_path / "1").stat().st_size == 2 * (PACKET + len(block))


@pytest.mark.parametrize("data", [b"\1\2\3", b"\xff" * 50, bytes(60), b"\5\0\0\0\x10" + bytes(11)])
def test_notes_that_somebody_has_damaged_harm_nobody(writing, rings, data):
    child = writing(ENDLESS)
    for text in (data, gated([(1, 2)], b"")[:-5] + data):
        assert lib.pcap_note(rings[1].c, ffi.from_buffer("uint8_t[]", text), len(text))
        child.drain(least=1)
        child.write_notes(None)
        assert not rings[1].take()


@pytest.mark.parametrize("octets", [100, 10_000])
def test_a_command_that_dies_with_words_unread_loses_no_records(
    writing, rings, tmp_path, monkeypatch, octets
):
    """The kernel resets the line then, of which the process learns when it asks, or listens."""
    child = writing(octets)
    say = child.parts._say

    def say_last(words):
        say(words)
        child.command.close()

    monkeypatch.setattr(child.parts, "_say", say_last)
    assert rings[0].send(5, 60) == 5
    if octets > 100:
        child.parts.done()
    child.drain(least=1)
    assert (child.parts.ends, child.parts.stays) == (True, True)
    assert (tmp_path / "1").stat().st_size == 5 * PACKET


def test_the_process_does_not_wait_for_an_end_that_cant_be_told(monkeypatch):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sink = RingOfFiles(parse("pcap:out=x"))
    monkeypatch.setattr(sink, "_tail", lambda: 1 // 0)
    with ours, theirs:
        theirs.send(LAST)
        with pytest.raises(ZeroDivisionError):
            sink._answer(ours)
        theirs.setblocking(False)
        assert theirs.recv(100) == TAIL


def test_what_the_process_says_last_is_heard():
    """It may say it, and end, between two looks at it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        said = DONE + COUNTS.pack(7, 0)
        writer = SimpleNamespace(pidfd=None, line=ours, gone=lambda _: theirs.send(said) > 0)
        sink, told = RingOfFiles(parse("pcap:out=x")), []
        sink._completed = told.append
        assert sink._gone(writer)
    assert told == [7]
