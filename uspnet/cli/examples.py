# SPDX-License-Identifier: Apache-2.0
"""What `pktgen --example` prints: command lines and profiles that run as they are."""

from __future__ import annotations

from typing import Annotated

import typer

from uspnet.errors import Usage
from uspnet.text import did_you_mean, printable

IPV4 = "Ether()/IP(dst='198.18.0.2')"
LINES = {
    "udp": ("UDP of 60 bytes, 100,000 a second, for 10 s", "--rate 100k --duration 10s"),
    "imix": (
        "A mix of sizes as in the Internet, at a tenth of the link, for 10 s",
        "--size imix --rate 10% --duration 10s",
    ),
    "syn": (
        "TCP SYN packets of random sources to a web server",
        f"""--packet "{IPV4}/TCP(dport=80,flags='S')" --vary ip.src=10.0.0.0/8:random """
        "--vary tcp.sport=1024-65535:random --vary tcp.seq=random --rate 10k --duration 10s",
    ),
    "flows": (
        "10,000 flows, a few of which have most of the packets",
        "--vary ip.src=10.0.0.0/16 --vary udp.sport=1024-65535 --flows 10k --zipf 1.1 --size imix "
        "--rate 100k --duration 10s",
    ),
    "ping": (
        "An echo request a second, to each of 254 addresses in turn",
        "--packet \"Ether(dst='ff:ff:ff:ff:ff:ff')/IP(dst='192.0.2.1')/ICMP()/('x'*40)\" "
        "--vary ip.dst=192.0.2.1-192.0.2.254 --vary icmp.seq=0-65535 --rate 1 -c 254",
    ),
    "arp": (
        "An ARP request for each address of a network",
        "--packet \"Ether(dst='ff:ff:ff:ff:ff:ff')/ARP(psrc='192.0.2.1',pdst='192.0.2.2')\" "
        "--vary arp.pdst=192.0.2.2-192.0.2.254 --rate 100 -c 253",
    ),
    "vlan": (
        "Packets of 100 VLANs in turn",
        "--packet \"Ether()/Dot1Q(vlan=1)/IP(dst='198.18.0.2')/UDP(dport=9)/('x'*18)\" "
        "--vary vlan=1-100 --rate 10k --duration 10s",
    ),
    "ipv6": (
        "UDP over IPv6, of random sources of one /64",
        "--packet \"Ether()/IPv6(dst='2001:db8::2')/UDP(dport=9)/('x'*18)\" "
        "--vary ip6.src=2001:db8:1::/64:random --rate 10k --duration 10s",
    ),
    "bursts": (
        "Bursts of 32 packets, the gaps between them random",
        "--rate 100k --burst-size 32 --poisson --duration 10s",
    ),
    "ramp": (
        "From 10,000 to 100,000 packets a second, 10,000 more each second",
        "--ramp 10k:100k:10k/1s",
    ),
    "latency": (
        "Loss and latency of what returns on the same port",
        "--rx-port PORT --size imix --rate 10k --duration 10s",
    ),
}
PROFILE = """\
# Three streams at once: uspnet pktgen PORT --profile FILE.yaml
streams:
  voice:                 # small packets, evenly spaced
    size: 200
    rate: 5k
    dst-port: 5004
    duration: 10s
  web:                   # flows of TCP, in sizes as in the Internet
    packet: "Ether()/IP(dst='198.18.0.2')/TCP(dport=80,flags='A')/('x'*6)"
    size: imix
    vary: ["ip.src=10.0.0.0/16", "tcp.sport=1024-65535"]
    flows: 10k
    zipf: 1.1
    rate: 20Mbit/s
    duration: 10s
  attack:                # begins later, and ends earlier
    # port: packet:eth1  # another than PORT
    packet: "Ether()/IP(dst='198.18.0.2')/TCP(dport=80,flags='S')"
    vary: ["ip.src=random", "tcp.sport=random"]
    rate: 50k
    start: 3s
    stop: 6s
"""
NAMES = (*LINES, "profile")

Example = Annotated[
    str | None,
    typer.Option(
        "--example",
        metavar="NAME",
        help=f"Print a command line that is ready to run, for PORT: {', '.join(LINES)}; or a file "
        "for --profile: profile.",
    ),
]


def example_of(name: str, port: str | None) -> str:
    """Return the example of a name, for a port. Raise Usage."""
    if name == "profile":
        return PROFILE.rstrip().replace("PORT", port or "PORT")
    if name not in LINES:
        text = f"--example: there is no example {printable(name, 40)!r}"
        raise Usage(text, did_you_mean(name, NAMES) or f"they are: {', '.join(NAMES)}")
    does, words = LINES[name]
    return f"# {does}\nuspnet pktgen PORT {words}".replace("PORT", port or "PORT")


def show_example(name: str, port: str | None) -> None:
    """Print the example of a name, for a port. Raise Usage."""
    from uspnet.cli.trial import is_on_trial
    from uspnet.cli.views.console import show_lines

    if is_on_trial():
        raise Usage("--example prints, and sends nothing", "drop it")
    show_lines(example_of(name, port).splitlines())
