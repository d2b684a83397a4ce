# SPDX-License-Identifier: Apache-2.0
"""Addresses whose neighbors' questions are answered, as `pktgen --answer` names them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from uspnet.errors import Usage
from uspnet.packets.fields.rewrite import NET, words
from uspnet.packets.frames import mac_bytes

HINT = "write it as 10.0.0.0/16, 2001:db8::/64, 10.0.0.1 or 10.0.0.0/16@02:00:00:00:00:05"


@dataclass(frozen=True)
class AnswerNet:
    """Addresses, and the MAC address that they are said to have; None: that of the packets sent.
    Where it is `silent`, questions for them are not answered.
    """

    net: NET
    mac: bytes | None = None
    silent: bool = False

    def row(self, mac: bytes) -> dict[str, object]:
        """Return it as C's `struct answer_net`; `mac` stands in for None."""
        net = self.net
        return {
            "words": net.max_prefixlen // 32,
            "from": words(net.network_address.packed),
            "mask": words(net.netmask.packed),
            "mac": self.mac or mac,
            "silent": self.silent,
        }


def read_answer_net(text: str) -> AnswerNet:
    """Read a network or an address, and maybe @MAC; with - before it, an exception. Raise Usage."""
    silent = text.startswith("-")
    net, at, mac = text.removeprefix("-").partition("@")
    try:
        read = ipaddress.ip_network(net.strip())
    except ValueError as error:
        raise Usage(f"--answer {text}: {error}", HINT) from None
    if at and silent:
        raise Usage(f"--answer {text}: there is no answer, and no MAC address in it", HINT)
    if read.network_address.is_multicast:
        raise Usage(f"--answer {text}: nobody asks for the MAC address of a group", HINT)
    if at and mac_bytes(mac)[0] & 1:
        raise Usage(f"--answer {text}: {mac} is the MAC address of a group", HINT)
    return AnswerNet(read, mac_bytes(mac) if at else None, silent)


def read_answers(texts: list[str] | None) -> list[AnswerNet]:
    """Read several, each of which may be a list with commas, exceptions first. Raise Usage."""
    nets = [read_answer_net(part) for text in texts or () for part in text.split(",")]
    if nets and all(each.silent for each in nets):
        raise Usage("--answer: exceptions only, and nothing that they are from", HINT)
    return sorted(nets, key=lambda each: not each.silent)
