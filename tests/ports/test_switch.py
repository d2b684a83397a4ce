# SPDX-License-Identifier: Apache-2.0
"""fwd --mode switch beside the kernel's bridge: the same frames enter both."""

from __future__ import annotations

import random

from tests.fastpath.test_switch import EVERYBODY, HARMLESS, LINK_LOCAL, frame, mac
from tests.support.interfaces import receive
from tests.support.tiers import by_tier

PORTS = 4
END = b"\x02\xff\xff\xff\xff"  # what a batch ends with comes from here: its port is the last byte


def batches(noise):
    """Frames that enter one port one after the other, the last of which comes out at all others."""
    number = 0
    for _ in range(by_tier(40, 100, 1000)):
        port, made = noise.randrange(PORTS), []
        for _ in range(noise.randrange(1, 16)):
            source = noise.randrange(24)
            tagged = source % 3 == 2  # and so are those it talks to: the kernel's table has no VLAN
            to = mac(noise.choice([each for each in range(32) if (each % 3 == 2) == tagged]))
            if noise.random() < 0.2:
                to = noise.choice([EVERYBODY, *map(bytes.fromhex, HARMLESS + LINK_LOCAL)])
            sender = mac(source) if noise.random() > 0.02 else noise.choice([bytes(6), EVERYBODY])
            made.append(frame(to, sender, number, 5 if tagged else None))
            number += 1
        yield port, [*made, frame(EVERYBODY, END + bytes([port]), number)]
        number += 1


def until_last(sock, last):
    """What comes out of a socket, up to this frame."""
    seen = receive(sock, 1)
    while seen[-1] != last:
        seen += receive(sock, 1)
    return seen


def test_a_switch_does_as_the_bridge_of_the_kernel(namespace):
    namespace.ip("link", "add", "bridge0", "type", "bridge", "mcast_snooping", "0")
    namespace.ip("link", "set", "bridge0", "up")
    for number in range(PORTS):
        namespace.veth(f"k{number}", f"g{number}")
        namespace.veth(f"s{number}", f"h{number}")
        namespace.ip("link", "set", f"k{number}", "master", "bridge0")
    theirs, ours = ([namespace.socket(f"{side}{n}") for n in range(PORTS)] for side in "gh")
    job = namespace.start("fwd", *(f"packet:s{n}" for n in range(PORTS)), "--mode", "switch")
    sent = 0
    for port, frames in batches(random.Random(7)):
        for sockets in (theirs, ours):
            for each in frames:
                sockets[port].send(each)
        for number in range(PORTS):
            if number != port:
                expected = until_last(theirs[number], frames[-1])
                assert until_last(ours[number], frames[-1]) == expected
        sent += len(frames)
    result = job.end()
    assert result["received"] == sent
    assert {"same_port", "link_local", "bad_source"} == set(result["drops"])
