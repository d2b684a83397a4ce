# SPDX-License-Identifier: Apache-2.0
"""The options of `attach` for the kernel's interface and for what is diverted, as asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.errors import Usage
from uspnet.text import printable, read_mac

if TYPE_CHECKING:
    from uspnet.binding.attached import Address, Configuration
    from uspnet.binding.saved import Saved
    from uspnet.jobs.attach.job import Attaching
    from uspnet.jobs.choices import OnFull
    from uspnet.port import Port

ADDRESS_HINT = "write it as 192.0.2.1/24 or 2001:db8::1/64"
MAC_HINT = "write it as 02:00:00:00:00:01"
BROADCAST = bytes([255] * 4)
SHOWN = 40  # characters of a wrong word

Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="The name of the kernel's interface. Default: that of the NIC's own when it was "
        "bound.",
    ),
]
Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--address",
        metavar="ADDRESS/PREFIX",
        help="Give the interface this address: 192.0.2.1/24 or 2001:db8::1/64. May be given "
        "several times. Default: the addresses and routes that uspnet bind has saved.",
    ),
]
Mtu = Annotated[
    int | None,
    typer.Option(
        "--mtu",
        metavar="BYTES",
        parser=units.whole(68, 9706),
        help="The interface's MTU, 68 to 9706. Default: the saved one; or that of the port's own "
        "interface; or 1500, if the port takes that.",
    ),
]
Mac = Annotated[
    str | None,
    typer.Option(
        "--mac",
        metavar="MAC",
        help="The interface's MAC address. Default: the port's, or one that the kernel draws.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="FILTER",
        help="Send those of the port's packets that this accepts to another port, instead of the "
        "kernel: 'udp port 4789', in the language of tcpdump's filters.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="PORT",
        help="Where the packets of --filter go. What comes from there leaves by the port.",
    ),
]
Tee = Annotated[
    bool, typer.Option("--tee", help="Send copies there, so that the kernel has them as well.")
]
Offload = Annotated[
    bool,
    typer.Option(
        "--offload/--no-offload",
        help="Segment TCP and UDP for the kernel, fill in checksums, and join TCP segments that "
        "come: faster. Or have the kernel do it.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """What the interface is to be, and what is diverted, as it is on the command line."""

    name: str | None
    addresses: Sequence[str]
    mtu: int | None
    mac: str | None
    only: str | None
    to: str | None
    tee: bool
    offload: bool
    on_full: OnFull

    def attaching(self, port: Port) -> Attaching:
        """Return how the port is attached. Raise Usage, and what can be wrong with saved states."""
        from uspnet.jobs.attach.job import Attaching
        from uspnet.packets.filter import choose_by
        from uspnet.ports.registry import make_port

        saved = saved_of(port)
        return Attaching(
            self._name(port, saved),
            self.mtu or _saved_mtu(saved),
            read_station(self.mac) if self.mac is not None else None,
            self._configuration(saved),
            choose_by(self.only) if self.only is not None else None,
            make_port(self.to) if self.to is not None else None,
            self.tee,
            self.on_full.value,
            self.offload,
        )

    def _name(self, port: Port, saved: Saved | None) -> str:
        own = saved.network.get("own") if saved else None
        name = own[0] if self.name is None and own else self.name
        if not name:
            text = "--name is empty" if name is not None else f"{port.name}: no name was saved"
            raise Usage(f"{text}: the interface needs one", "give it a name: --name eth7")
        return str(name)

    def _configuration(self, saved: Saved | None) -> Configuration:
        from uspnet.binding.attached import Configuration

        return Configuration(read_addresses(self.addresses), saved)


def _saved_mtu(saved: Saved | None) -> int | None:
    from uspnet.binding.attached import saved_mtu

    return saved_mtu(saved.network) if saved else None


def saved_of(port: Port) -> Saved | None:
    """Return what bind has saved of a port's NIC; None: nothing. Raise Malformed, Refused."""
    if port.scheme != "pci":
        return None
    from uspnet.binding.machine import this_machine

    try:
        return this_machine().store.load(port.spec.target)
    except PermissionError:  # which making an interface takes, too
        return None


def read_addresses(texts: Sequence[str]) -> list[Address]:
    """Read addresses with their prefixes. Raise Usage."""
    found: list[Address] = []
    for text in texts:
        address = _read_address(text)
        if address in found:
            raise Usage(f"--address {text} is given twice", "keep one of them")
        found.append(address)
    return found


def _read_address(text: str) -> Address:
    import ipaddress

    start = f"--address {printable(text, SHOWN)!r}"
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        raise Usage(f"{start}: not an address", ADDRESS_HINT) from None
    if "/" not in text:
        raise Usage(f"{start}: has no prefix", ADDRESS_HINT)
    ip = found.ip  # an IPv4Interface is never unspecified
    special = ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip.packed == BROADCAST
    if special or "%" in text:
        raise Usage(f"{start}: not an address of a station", ADDRESS_HINT)
    return found


def read_station(text: str) -> bytes:
    """Read the MAC address of one station. Raise Usage."""
    start = f"--mac {printable(text, SHOWN)!r}"
    try:
        mac = read_mac(text)
    except ValueError as error:
        raise Usage(f"{start}: {error}", MAC_HINT) from None
    if mac[0] & 1 or not any(mac):
        raise Usage(f"{start}: not the address of one station", MAC_HINT)
    return mac
