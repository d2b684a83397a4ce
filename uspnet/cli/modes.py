# SPDX-License-Identifier: Apache-2.0
"""The options of fwd's modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from uspnet import units
from uspnet.cli import options as o
from uspnet.units import Unreadable

if TYPE_CHECKING:
    from uspnet.packets.fields.rewrite import Rewrite

PPS_HINT = "write packets a second: 1000, 10k or 1.5Mpps"


def _pps(text: str) -> float:
    """Read packets a second. Raise Unreadable."""
    rate = units.rate(text)
    if rate.unit != "pps" or not rate.value:
        raise Unreadable("not a rate in packets a second", PPS_HINT)
    return rate.value


Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="PORT",
        help="Send copies of all packets, as they come, by a further port, which only takes; not "
        "with macswap and impair.",
    ),
]
Age = Annotated[
    float | None,
    typer.Option(
        "--age",
        metavar="TIME",
        parser=units.time_between(1e-3, 1e6),
        help="switch: Forget an address after this time without a packet from it. Default: 300 s.",
    ),
]
Macs = Annotated[
    int | None,
    typer.Option(
        "--macs",
        metavar="N",
        parser=units.whole(1, 1 << 24),
        help="switch: Have room for N addresses. Default: 65,536.",
    ),
]
StormLimit = Annotated[
    float | None,
    typer.Option(
        "--storm-limit",
        metavar="RATE",
        parser=_pps,
        help="switch: Flood at most so many packets a second from each port, or a burst of a tenth "
        "of them; others are dropped as policed.",
    ),
]


Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="'pass|drop|to:PORT FILTER'",
        help="filter: What happens to the packets that a filter accepts (man pcap-filter; all "
        "without one): pass to the other port, drop, or leave by PORT, as it is named or by its "
        "number from 1 on. Repeat it: the first rule that fits counts; what none fits passes.",
    ),
]


Routes = Annotated[
    str | None,
    typer.Option(
        "--routes",
        metavar="FILE",
        callback=o.file_name,
        help="route: The routes, one a line: PREFIX via ADDRESS port N mac MAC, PREFIX port N for "
        "what is on the link itself, PREFIX drop; neighbor ADDRESS port N mac MAC; local ADDRESS, "
        "and port N mac MAC, for the router's own addresses. # begins a comment. A port is named "
        "by its number from 1 on, or as on the command line. The longest prefix counts.",
    ),
]


KernelRoutes = Annotated[
    str | None,
    typer.Option(
        "--kernel-routes",
        metavar="IFNAME,IFNAME...",
        help="route: Go by the kernel's routes and neighbors instead, and follow their changes: an "
        "interface for each port, in their order, IFNAME or NETNS/IFNAME. What is not known yet, "
        "the kernel asks for.",
    ),
]


Control = Annotated[
    str | None,
    typer.Option(
        "--control",
        metavar="SOCKET",
        callback=o.file_name,
        help="Take orders at this path, too, which only this user can connect to: --set-rules FILE "
        "SOCKET. It is removed at the end; a socket there on which nobody listens is replaced.",
    ),
]
SetRules = Annotated[
    str | None,
    typer.Option(
        "--set-rules",
        metavar="FILE",
        callback=o.file_name,
        help="Have the running JOB (its process id or the SOCKET of its --control, in the place of "
        "ports) go by the rules in a file, one a line, instead of those that it has. - is stdin.",
    ),
]
SetRoutes = Annotated[
    str | None,
    typer.Option(
        "--set-routes",
        metavar="FILE",
        callback=o.file_name,
        help="The same for the routes of a router.",
    ),
]


Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Rewrite packets before they leave, and their checksums: vlan, mac.dst, ip.src, "
        "ip6.hlim, udp.dport and others, as --vary of pktgen names them; the outermost such header "
        "counts. ip.dst=10.1.0.0/16 keeps the bits behind the prefix; vlan=none takes a tag away. "
        "Repeat it. Packets without the field go on unchanged, and are counted. Not with impair.",
    ),
]
MapIp = Annotated[
    list[str] | None,
    typer.Option(
        "--map-ip",
        metavar="OLD=NEW",
        help="Replace addresses of one network by those of another, in IPv4, IPv6 and ARP: "
        "10.0.0.0/8=192.168.0.0/16. Repeat it: the first one that fits an address counts.",
    ),
]
MapPort = Annotated[
    list[str] | None,
    typer.Option(
        "--map-port",
        metavar="OLD=NEW",
        help="Replace a TCP or UDP port, source or destination: 80=8080. Repeat it.",
    ),
]


Trace = Annotated[
    str | None,
    typer.Option(
        "--trace",
        metavar="FILTER",
        help="Follow the first packets that a filter accepts (man pcap-filter), and tell what "
        "becomes of each and why: 10 of them, or -c N, up to 1,000; then the run ends. Not with "
        "impair.",
    ),
]


def _loss(text: object) -> object:
    """Read --loss. Raise Unreadable."""
    from uspnet.jobs.forward.netem import read_loss

    return read_loss(text)  # type: ignore[arg-type]


def _queue(text: object) -> object:
    """Read --queue. Raise Unreadable."""
    from uspnet.jobs.forward.netem import read_queue

    return read_queue(text)  # type: ignore[arg-type]


def _time(name: str, text: str) -> OptionInfo:
    made: OptionInfo = typer.Option(
        name, metavar="TIME", parser=units.time_between(0, 3600), help=f"impair: {text}"
    )
    return made


def _share(name: str, text: str) -> OptionInfo:
    made: OptionInfo = typer.Option(
        name, metavar="SHARE", parser=units.share, help=f"impair: {text}"
    )
    return made


def _whole(name: str, low: int, high: int, text: str) -> OptionInfo:
    made: OptionInfo = typer.Option(
        name, metavar="N", parser=units.whole(low, high), help=f"impair: {text}"
    )
    return made


Delay = Annotated[float | None, _time("--delay", "Have each packet wait this long.")]
Jitter = Annotated[
    float | None,
    _time("--jitter", "Have it wait up to this much more or less; packets overtake each other."),
]
Loss = Annotated[
    object,
    typer.Option(
        "--loss",
        metavar="LOSS",
        parser=_loss,
        help="impair: Lose this share of the packets: 0.1%; with a correlation, 1%,25%. Or "
        "gemodel:P[,R[,1-H[,1-K]]]: by the model of Gilbert and Elliott, as netem has it.",
    ),
]
Duplicate = Annotated[float | None, _share("--duplicate", "Send this share of them twice.")]
Corrupt = Annotated[float | None, _share("--corrupt", "Change one bit in this share of them.")]
Reorder = Annotated[
    float | None, _share("--reorder", "Have this share of the packets not wait for --delay.")
]
Gap = Annotated[
    int | None,
    _whole("--gap", 1, 1 << 31, "Reorder at most every Nth packet. Default: 1."),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="RATE",
        parser=units.bit_rate,
        help="impair: Send at most so many bits a second of frames without FCS: 10Mbit/s.",
    ),
]
Bucket = Annotated[
    int | None,
    typer.Option(
        "--bucket",
        metavar="SIZE",
        parser=units.octets,
        help="impair: With --rate, let so many bytes pass at once after a pause: a token bucket.",
    ),
]
Queue = Annotated[
    object,
    typer.Option(
        "--queue",
        metavar="QUEUE",
        parser=_queue,
        help="impair: Have packets wait for --rate or --link-trace in a queue: fifo[:PACKETS] or "
        "codel[:TARGET,INTERVAL[,PACKETS]], by default of 1,000 packets, 5ms,100ms. Others are "
        "dropped as queue_full, or by CoDel as codel.",
    ),
]
LinkTrace = Annotated[
    list[str] | None,
    typer.Option(
        "--link-trace",
        metavar="FILE",
        help="impair: Send by a trace of mahimahi: each line is the ms at which 1,500 bytes may "
        "leave; it repeats. Given twice: one for each direction, of the first port's packets "
        "first.",
    ),
]
Limit = Annotated[
    int | None,
    _whole(
        "--limit", 1, 1 << 24,
        "Have room for N packets that wait, in each direction of each queue; others are dropped as "
        "impair_full. Default: what comes meanwhile at --rate, or at 1 Mpps; up to 65,536.",
    ),
]  # fmt: skip
Seed = Annotated[
    int | None,
    _whole("--seed", 0, (1 << 63) - 1, "Draw what happens by another seed than 1."),
]


def rewriting(
    sets: list[str] | None, map_ip: list[str] | None, map_port: list[str] | None
) -> Rewrite | None:
    """Return what rewrites packets; None: nothing. Raises Usage."""
    if not (sets or map_ip or map_port):
        return None
    from uspnet.packets.setting import read_rewrite

    return read_rewrite(sets or (), map_ip or (), map_port or ())


def given(**options: object) -> dict[str, object]:
    """Return the options that are on the command line."""
    return {name: value for name, value in options.items() if value not in (None, [])}
