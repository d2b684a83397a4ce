# SPDX-License-Identifier: Apache-2.0
"""xdp: VLAN tags that a NIC takes out of frames: a job gets them as they were on the wire."""

from __future__ import annotations

import errno
import os
import sys

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.support.identity import answer
from tests.support.tagging import Tagger
from tests.support.tiers import by_tier
from tests.support.waiting import until
from uspnet.jobs.doctor_xdp import xdp_rows
from uspnet.kernel import bpf
from uspnet.kernel.interface import Interface
from uspnet.ports.xdp import tags

CUSTOMER, SERVICE, PRIORITY = b"\x81\x00\x60\x64", b"\x88\xa8\xf0\xc8", b"\x81\x00\x00\x00"
TAGS = [b"", CUSTOMER, SERVICE, PRIORITY]
INNER = b"\x81\x00\x20\x05"


@pytest.fixture
def tagger(namespace):
    """Sends from `a` to `b`, with tags beside frames, as a NIC has them that took them out."""
    namespace.veth("a", "b", 9000)
    with Tagger(namespace, "a") as made:
        yield made


@pytest.fixture
def told(tagger):
    """The same, where the kernel tells tags."""
    with tagger.namespace.entered():
        interface = Interface("b")
    interface.close()
    with tagger.namespace.entered():
        if not (tags.offered(interface.index) and tags.asking()):
            pytest.skip("veth tells no VLAN tags: Linux 6.8 does")
    return tagger


def received(port, count):
    """So many frames, and whatever comes with the last of them."""
    seen = []

    def all_there():
        seen.extend(frame for frame, _ in port.receive())
        return len(seen) >= count

    until(all_there)
    return seen


def send_all(tagger, frames):
    """Sends frames, without tags and with tags in and beside them; returns those of the wire."""
    tagged = [frame[:12] + INNER + frame[12:] for frame in frames]
    return [tagger.send(frame, tag) for frame in [*frames, *tagged] for tag in TAGS]


def set_mtu(namespace, mtu):
    for name in "ab":
        namespace.ip("link", "set", "dev", name, "mtu", mtu)


@pytest.mark.parametrize("mtu", [1500, *by_tier([9000], [1774, 3800, 9000])])
def test_frames_are_as_they_were_on_the_wire(told, frames, read_frames, drive, mtu):
    """And as a raw socket gets them. Also in several pieces, and the longest ones."""
    set_mtu(told.namespace, mtu)
    sent = frames([16, 17, 60, mtu - 4, mtu + 9, mtu + 10])
    raw = told.namespace.socket("b")
    wire = send_all(told, sent)
    assert read_frames(raw, len(wire)) == wire
    port = drive("xdp:b")
    assert send_all(told, sent) == wire
    assert received(port, len(wire)) == wire
    shortest = send_all(told, frames([14]))  # not even the kernel takes those that have a tag
    assert received(port, len(shortest)) == shortest
    assert port.port.how.startswith("native, ")
    assert tags.LOST not in port.port.how


def test_a_filter_sees_the_tag_and_the_kernel_gets_the_rest_as_it_came(
    told, frames, read_frames, drive
):
    port, raw = drive("xdp:b,keep-host=vlan 100"), told.namespace.socket("b")
    wire = send_all(told, frames([16, 60, 1500]))
    wanted = [frame for frame in wire if frame[12:16] == CUSTOMER]
    rest = [frame for frame in wire if frame not in wanted]
    assert received(port, len(wanted)) == wanted
    assert read_frames(raw, len(rest)) == rest
    port.port.stop()
    assert send_all(told, frames([16, 60, 1500])) == wire
    assert read_frames(raw, len(wire)) == wire, "also where a queue has no socket"


def test_the_machines_own_frames_are_kept_also_behind_two_tags(told, drive):
    ours = told.namespace
    ours.ip("address", "add", "10.9.0.2/24", "dev", "b")
    port = drive("xdp:b,keep-host=on")
    ether = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    packets = [ARP(pdst="10.9.0.2"), IP(dst="10.9.0.2") / UDP(), IP(dst="198.18.0.1") / UDP()]
    sent = [
        told.send(bytes(inner / packet), tag)
        for packet in packets
        for inner in (ether, ether / Dot1Q(vlan=5))
        for tag in TAGS
    ]
    assert received(port, 1) == sent[-2 * len(TAGS) :]


def rows(namespace):
    with namespace.entered():
        return {check: (state, found, fix) for check, state, found, fix in xdp_rows("b")}


def test_what_a_job_says_that_gets_them(told):
    run = told.namespace.uspnet("capture", "xdp:b", "--duration", "0.1", "--json")
    assert tags.LOST not in run.stdout + run.stderr
    assert rows(told.namespace)["XDP VLAN tags"][:2] == (
        "ok",
        "put back where the NIC takes them out",
    )


@pytest.mark.full
def test_three_capabilities_are_enough(told):
    bound = "-all,+net_raw,+net_admin,+bpf"
    bare = ("setpriv", f"--bounding-set={bound}", f"--inh-caps={bound}", sys.executable)
    words = ("-m", "uspnet", "capture", "xdp:b,keep-host=vlan", "--duration", "0.1", "--json")
    set_mtu(told.namespace, 1500)  # there may be little memory to lock
    result = answer(told.namespace.run(*bare, *words, check=False).stdout)
    how = result["ports"][0]["how"] if "ports" in result else result["message"]
    assert how.startswith("native")
    assert tags.LOST not in how


def test_where_they_are_lost_the_job_says_so(tagger):
    """In generic mode, which no program of one device runs in."""
    words = ("capture", "xdp:b,mode=generic", "--duration", "0.1", "--json")
    run = tagger.namespace.uspnet(*words)
    how = answer(run.stdout)["ports"][0]["how"]
    assert how == f"generic, copied once by the kernel; {tags.LOST}"
    assert f"{tags.LOST}: ethtool -K b rxvlan off" in run.stderr


@pytest.mark.parametrize("refused", ["load", "attach"])
def test_where_the_kernel_refuses_the_program_the_other_one_is_taken(
    told, frames, drive, monkeypatch, refused
):
    """As a verifier or a driver may that is not like today's."""
    load, attach, bound = bpf.load, bpf.attach, []

    def fails():
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def loaded(code, *, frags, device=0):
        if device and refused == "load":
            fails()
        program = load(code, frags=frags, device=device)
        bound.extend([program] * bool(device))
        return program

    def attached(program, index, mode):
        if program in bound:
            bound.clear()
            fails()
        return attach(program, index, mode)

    monkeypatch.setattr(bpf, "load", loaded)
    monkeypatch.setattr(bpf, "attach", attached)
    port = drive("xdp:b")
    assert port.port.how.endswith(tags.LOST)
    sent = frames([60])[0]
    told.send(sent, CUSTOMER)
    assert received(port, 1) == [sent]


def test_a_kernel_without_the_function(told, drive, monkeypatch):
    monkeypatch.setattr(tags, "ASK", "bpf_no_such_function")
    assert drive("xdp:b").port.how.endswith(tags.LOST)
    assert rows(told.namespace)["XDP VLAN tags"][:2] == ("note", tags.LOST)


@pytest.mark.full
def test_tshark_finds_the_tags_that_packet_finds(told, frames, needs, tmp_path, wait_until):
    needs("tshark")

    def found(scheme):
        path = tmp_path / f"{scheme}.pcapng"
        capture = told.namespace.start("capture", f"{scheme}:b", "-w", path)
        wire = send_all(told, frames([60, 1500]))
        wait_until(lambda: capture.count("rx_packets") == len(wire))
        capture.end()
        fields = ("-T", "fields", "-e", "frame.len", "-e", "vlan.id", "-e", "vlan.priority")
        return told.namespace.run("tshark", "-r", path, *fields).stdout

    assert found("xdp") == found("packet")
    assert "100,5" in found("xdp")
