# SPDX-License-Identifier: Apache-2.0
"""`uspnet pktgen`."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.cli import replay as r
from uspnet.cli.offered import changing, check_dry, check_header, generating, offered
from uspnet.cli.rates import BurstGap, BurstSize, Link, Poisson, RampOption, Rate, Rates
from uspnet.errors import Usage
from uspnet.jobs.choices import Poll, Sandbox
from uspnet.packets.sizes import Sizes, read_sizes
from uspnet.packets.vary.change import FLOWS_MAX, Change
from uspnet.ports.pcap.kinds import Truncated

if TYPE_CHECKING:
    from uspnet.cli.checks import Check
    from uspnet.jobs.job import AnyJob
    from uspnet.jobs.saving import HdrFile

DEFAULT_SIZE = Sizes((60,))
UDP_PORT = units.whole(0, 65535)

Size = Annotated[
    Sizes,
    typer.Option(
        "--size",
        metavar="BYTES",
        parser=read_sizes,
        help="Frame size without FCS: 60, several in turn (60-1514 or 60,566,1514), by weights "
        "(60:7,566:4,1514:1), random:60-1514, or a mix whose sizes count the FCS: imix, "
        "imix:ipsec, imix:ipv6, imix:standard, imix:tcp, or RFC 6985's letters, imix:aaab.",
    ),
]
Packet = Annotated[
    list[str] | None,
    typer.Option(
        "--packet",
        metavar="EXPR",
        help="A Scapy expression, such as Ether()/IP()/UDP(). Fields with several values make "
        "several packets, sent in turn; RandShort(), RandNum(1,9), RandIP('10.0.0.0/8') and the "
        "like are drawn anew for each packet, as by --vary; --size pads them. May be given several "
        "times, with weights: 3:Ether()/… is sent three times as often as one without.",
    ),
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="FIELD=VALUES",
        help="Change a field from packet to packet, and the checksums that follow: "
        "ip.src=10.0.0.0/16, udp.sport=1024-65535:random, ip.dst=list:10.0.0.1,10.0.0.9, "
        "vlan=1-100:step=5, tcp.dport=100-200:dec, ip#2.src=… (the second IP header), or bytes of "
        "the payload: seq32@60, u16@60&0x0ff0=1-9. May be given several times.",
    ),
]
FlowCount = Annotated[
    int | None,
    typer.Option(
        "--flows",
        metavar="N",
        parser=units.whole(1, FLOWS_MAX),
        help="Make N distinct flows of the header fields that --vary names, drawn by --seed: "
        "their values move together. Bytes of the payload go on changing with every packet.",
    ),
]
Zipf = Annotated[
    float | None,
    typer.Option(
        "--zipf",
        metavar="S",
        help="Flows get shares by Zipf's law, 1/rank^S, instead of equal ones in turn.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        parser=units.whole(0, (1 << 64) - 1),
        help="What is drawn at random follows from this number: the same number, the same packets.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Send nothing, and do not open the port: write to the file of -w what would be sent, "
        "stamped with when it would be due, in seconds from the start of the run.",
    ),
]
Write = Annotated[str | None, o.written("The pcapng file that --dry-run writes; -: to stdout.")]
RxPort = Annotated[
    str | None,
    typer.Option(
        "--rx-port",
        metavar="PORT",
        help="Port on which the packets return; loss and latency are measured there.",
    ),
]
Sequence = Annotated[
    bool | None,
    typer.Option(
        "--sequence/--no-sequence",
        help="Write a sequence number and a time stamp into the last 18 bytes of each packet's "
        "payload; on with --rx-port.",
    ),
]
Save = Annotated[
    str | None,
    typer.Option(
        "--save",
        metavar="FILE",
        callback=o.file_name,
        help="Save the latencies that --rx-port measures as a log of HdrHistogram, which its tools "
        "read: logs of several runs merge exactly.",
    ),
]
Linger = Annotated[
    float,
    typer.Option(
        "--linger",
        metavar="TIME",
        parser=units.time_between(0, 1e9),
        help="Stay connected this long after the last packet.",
    ),
]
SrcMac = Annotated[str, typer.Option(metavar="MAC", help="Source MAC address.")]
DstMac = Annotated[str, typer.Option(metavar="MAC", help="Destination MAC address.")]
SrcIp = Annotated[str, typer.Option(metavar="IP", help="Source IPv4 address.")]
DstIp = Annotated[str, typer.Option(metavar="IP", help="Destination IPv4 address.")]
SrcPort = Annotated[int, typer.Option(metavar="N", parser=UDP_PORT, help="Source UDP port.")]
DstPort = Annotated[int, typer.Option(metavar="N", parser=UDP_PORT, help="Destination UDP port.")]


@app.command()
def pktgen(
    context: typer.Context,
    port: o.Port,
    size: Size = DEFAULT_SIZE,
    rate: Rate = None,
    link: Link = None,
    ramp: RampOption = None,
    burst_size: BurstSize = None,
    burst_gap: BurstGap = None,
    poisson: Poisson = False,
    packet: Packet = None,
    vary: Vary = None,
    flows: FlowCount = None,
    zipf: Zipf = None,
    seed: Seed = 1,
    rx_port: RxPort = None,
    sequence: Sequence = None,
    save: Save = None,
    src_mac: SrcMac = "02:00:00:00:00:01",
    dst_mac: DstMac = "02:00:00:00:00:02",
    src_ip: SrcIp = "198.18.0.1",
    dst_ip: DstIp = "198.18.0.2",
    src_port: SrcPort = 1024,
    dst_port: DstPort = 9,
    replay: r.Files = None,
    loop: r.Loop = 1,
    speed: r.Speed = None,
    topspeed: r.Topspeed = False,
    truncated: r.CutShort = Truncated.send,
    only: r.Only = None,
    split_by: r.SplitBy = None,
    second_port: r.SecondPort = None,
    map_ip: r.MapIp = None,
    map_port: r.MapPort = None,
    vlan: r.Vlan = None,
    dry_run: DryRun = False,
    write: Write = None,
    linger: Linger = 0.0,
    yes: o.Yes = False,
    fail_on_loss: o.FailOnLoss = None,
    duration: o.Duration = None,
    count: o.Count = None,
    cores: o.Cores = None,
    burst: o.Burst = 32,
    poll: o.PollMode = None,
    reconnect: o.Reconnect = True,
    in_process: o.InProcess = False,
    restart: o.Restart = 10,
    sandbox: o.SandboxMode = Sandbox.auto,
    no_sandbox: o.NoSandbox = False,
    require: o.Require = None,
    interval: o.Report = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = 0,
) -> None:
    """Generate packets: UDP/IPv4 of a fixed size, any that Scapy can build, or those of files.

    Packets count as lost when they were offered and not sent, or could not be offered (skipped in a
    file) or, with --rx-port, were sent and not received. --fail-on-loss compares them with all.
    """
    from uspnet.cli.confirm import ask_before_default_route, tell_of_interface
    from uspnet.cli.run import run
    from uspnet.cli.views.live import Shown
    from uspnet.ports.registry import make_port

    given = {name for name in context.params if o.was_given(context, name)}
    rewriting = r.Rewriting(map_ip, map_port, vlan, src_mac, dst_mac)
    replays = r.Replays(replay, loop, speed, topspeed, truncated, only, split_by, rewriting)
    check_dry(write, given, dry=dry_run)
    replays.check(given)
    kept = saved(save, rx_port)
    rates = Rates(rate, link, ramp, burst_size, burst_gap, poisson)
    duration = rates.duration(duration)
    outs = [make_port(port), *([make_port(second_port)] if second_port is not None else [])]
    out = outs[0]
    back = out if rx_port == port else make_port(rx_port) if rx_port is not None else None
    process = o.Process(in_process, restart, sandbox, no_sandbox)
    limits = o.limits(duration, count, cores, burst, poll, process, reconnect=reconnect)
    limits.linger = linger
    job: AnyJob
    if replay:
        job = replays.job(outs, limits, rate, link, given)
    else:
        header = (src_mac, dst_mac, src_ip, dst_ip, src_port, dst_port)
        exact = size if not packet or "size" in given else None
        check_header(packet, given)
        templates, drawn, order = offered(packet, header, exact, varies=bool(vary))
        change = Change((*drawn, *(vary or ())), seed, flows, zipf)
        traffic = changing(templates, change, exact, order)
        traffic.shape = rates.shape(traffic.mean(), seed)
        traffic.sequence = sequence if sequence is not None else back is not None
        job = generating(out, back, write, limits, traffic, kept)
    if poll is None and job.is_timed():
        limits.poll = Poll.busy.value
    checks = conditions(fail_on_loss, require, "received" if back else "sent", count)
    if not quiet and not dry_run:
        tell_of_interface(context, "pktgen")
    ask_before_default_route(*outs, yes=yes or dry_run)
    run(job, Shown(json, quiet, bool(verbose), interval), checks)


def conditions(
    fail_on_loss: float | None, require: int | None, verb: str, count: int | None
) -> list[Check]:
    """Return what makes a run a failure. `verb`: what has to be done to the packets required."""
    from uspnet.cli.checks import lossless, required, unsent_or_lost

    return [
        *lossless(fail_on_loss, unsent_or_lost),
        *required(require, verb, attrgetter(verb), count),
    ]


def saved(path: str | None, rx_port: str | None) -> HdrFile | None:
    """Return the file that latencies are saved to. Raise Usage."""
    if path is None:
        return None
    if rx_port is None:
        raise Usage("--save needs --rx-port: latencies are measured there", "add --rx-port PORT")
    from uspnet.jobs.saving import HdrFile

    return HdrFile(path)
