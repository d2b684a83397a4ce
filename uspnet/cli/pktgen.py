# SPDX-License-Identifier: Apache-2.0
"""`uspnet pktgen`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from uspnet.cli import app
from uspnet.cli import options as o

Size = Annotated[int, typer.Option("--size", metavar="BYTES", help="Frame size without FCS.")]
Rate = Annotated[
    str | None,
    typer.Option("--rate", metavar="RATE", help="1.5Mpps, 800Mbps, 25% (of --link) or 100k."),
]
Link = Annotated[str, typer.Option("--link", metavar="RATE", help="What 100% is.")]
Packet = Annotated[
    str | None,
    typer.Option("--packet", metavar="EXPR", help="A Scapy expression: Ether()/IP()/UDP()."),
]
RxPort = Annotated[
    str | None,
    typer.Option("--rx-port", metavar="PORT", help="Count what comes back here."),
]
Sequence = Annotated[
    bool | None,
    typer.Option(
        "--sequence/--no-sequence",
        help="Number and time-stamp each packet in its last 18 bytes; on with --rx-port.",
    ),
]
FailOnLoss = Annotated[
    bool, typer.Option("--fail-on-loss", help="Exit with 4 when packets were lost or not sent.")
]
SrcMac = Annotated[str, typer.Option(metavar="MAC", help="Source MAC address.")]
DstMac = Annotated[str, typer.Option(metavar="MAC", help="Destination MAC address.")]
SrcIp = Annotated[str, typer.Option(metavar="IP", help="Source IPv4 address.")]
DstIp = Annotated[str, typer.Option(metavar="IP", help="Destination IPv4 address.")]
SrcPort = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Source UDP port.")]
DstPort = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Destination UDP port.")]


@app.command()
def pktgen(
    port: o.Port,
    size: Size = 60,
    rate: Rate = None,
    link: Link = "10G",
    packet: Packet = None,
    rx_port: RxPort = None,
    sequence: Sequence = None,
    src_mac: SrcMac = "02:00:00:00:00:01",
    dst_mac: DstMac = "02:00:00:00:00:02",
    src_ip: SrcIp = "198.18.0.1",
    dst_ip: DstIp = "198.18.0.2",
    src_port: SrcPort = 1024,
    dst_port: DstPort = 9,
    linger: Annotated[
        float, typer.Option(metavar="S", min=0, help="Stay connected S seconds after the end.")
    ] = 0.0,
    fail_on_loss: FailOnLoss = False,
    duration: o.Duration = None,
    count: o.Count = None,
    cores: o.Cores = None,
    burst: o.Burst = 32,
    poll: o.PollMode = None,
    reconnect: o.Reconnect = True,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = 0,
) -> None:
    """Generate packets: UDP/IPv4 of a fixed size, or any one packet that Scapy can make."""
    from uspnet.cli.show import View
    from uspnet.errors import Loss
    from uspnet.frames import HEADERS, parse_rate, udp_frame
    from uspnet.jobs.generate import GenerateJob, Traffic
    from uspnet.port import make_port

    numbered = sequence if sequence is not None else rx_port is not None
    if packet is not None:
        from uspnet.craft import craft

        frame, payload = craft(packet, numbered=numbered)
    else:
        frame = udp_frame(
            size, src_mac, dst_mac, src_ip, dst_ip, src_port, dst_port, udp_checksum=not numbered
        )
        payload = len(frame) - HEADERS
    pps = parse_rate(rate, len(frame), o.bits(link)) if rate else 0.0
    out = make_port(port)
    back = out if rx_port == port else make_port(rx_port) if rx_port else None
    if poll is None and (rate or back):
        poll = o.Poll.busy
    limits = o.limits(duration, count, cores, burst, poll, reconnect=reconnect)
    limits.linger = linger
    with (
        GenerateJob(out, limits, Traffic(frame, payload, pps, numbered), back) as job,
        View(job, summary, as_json=json, quiet=quiet, verbose=bool(verbose)) as view,
    ):
        result = job.execute()
        view.finish(result)
    missing = result["unsent"] + result.get("lost", 0)
    if fail_on_loss and missing:
        raise Loss(f"{missing:,} of {result['offered']:,} packets did not arrive")


def summary(result: dict[str, Any]) -> list[str]:
    """The run in a few lines."""
    from uspnet.cli.show import format_count, format_ports, format_rate

    lines = [
        f"sent {format_count(result['sent'])} of {format_count(result['offered'])} packets "
        f"in {result['elapsed_s']:.2f} s: {format_rate(result['pps'], 'pps')}, "
        f"{format_rate(result['bps'], 'bps')} (L1 {format_rate(result['l1_bps'], 'bps')})",
        f"unsent {format_count(result['unsent'])}, "
        f"found the ring full {format_count(result['found_ring_full'])}",
    ]
    if "received" in result:
        names = ("received", "lost", "duplicated", "reordered")
        lines.append(", ".join(f"{name} {format_count(result[name])}" for name in names))
    if result.get("latency_ns"):
        parts = [f"{name} {ns / 1000:.1f}" for name, ns in result["latency_ns"].items()]
        lines.append("latency in us: " + ", ".join(parts))
    return lines + format_ports(result)
