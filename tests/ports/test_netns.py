# SPDX-License-Identifier: Apache-2.0
"""Interfaces in another network namespace: packet:NETNS/IFNAME and tap:NETNS/NAME."""

from __future__ import annotations

import os
import socket
import subprocess
from subprocess import PIPE

import pytest

from tests.support.captures import write_pcap
from uspnet.errors import NoDevice, NotPermitted, Usage
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.plan import Limits
from uspnet.kernel import netns
from uspnet.ports.registry import make_port

FRAMES = [
    bytes([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xB5]) + bytes([n] * 50) for n in range(9)
]


def place():
    return os.readlink("/proc/thread-self/ns/net")


def send(folder, spec):
    write_pcap(folder / "in.pcap", FRAMES)
    with ForwardJob(
        [make_port(f"pcap:{folder}/in.pcap"), make_port(spec)], Limits(), Forwarding()
    ) as job:
        return job.run()


def test_packets_go_through_an_interface_in_another_namespace(namespace, tmp_path, tcpdump):
    before = place()
    namespace.veth("a", "b")
    dump = tcpdump("b")
    assert send(tmp_path, f"packet:{namespace.name}/a").forwarded == len(FRAMES)
    assert dump.frames(len(FRAMES)) == FRAMES
    assert place() == before


def test_a_process_id_names_the_namespace_that_it_is_in(namespace):
    namespace.veth("a", "b")
    with subprocess.Popen(namespace.command("cat"), stdin=PIPE, stdout=PIPE) as process:
        process.stdin.write(b"there\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"there\n"
        with netns.entered(str(process.pid)):
            assert {"a", "b"} <= {name for _, name in socket.if_nameindex()}
        process.stdin.close()


def test_a_tap_is_made_there_and_is_gone_afterwards(namespace, tmp_path):
    before, spec = place(), f"tap:{namespace.name}/tap7"
    port = make_port(f"{spec},ip=192.0.2.1/24")
    port.open()
    assert namespace.link("tap7")["flags"].count("UP")
    assert "tap7" not in [name for _, name in socket.if_nameindex()]
    port.close()
    assert "tap7" not in namespace.ip("link")
    assert send(tmp_path, spec).forwarded == len(FRAMES)
    assert place() == before


def test_what_is_not_there_is_named_and_the_thread_stays_where_it_was(namespace):
    before = place()
    for spec, text in (
        ("packet:none-such/eth0", "no network namespace none-such"),
        (f"packet:{namespace.name}/none", f"no interface none in {namespace.name}"),
        (f"packet:{1 << 30}/lo", "no network namespace"),
    ):
        with pytest.raises(NoDevice, match=text) as raised:
            make_port(spec).open()
        assert raised.value.hint
        assert place() == before
    for wrong in ("packet:/eth0", "packet:../eth0", "tap:a/b/c", "tap:./x", "packet:a/"):
        with pytest.raises(Usage):
            make_port(wrong)


def test_where_it_is_not_permitted_it_says_so(namespace, monkeypatch):
    def refuse(_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(netns, "_enter", refuse)
    with pytest.raises(NotPermitted, match="not permitted"):
        make_port(f"packet:{namespace.name}/lo").open()
