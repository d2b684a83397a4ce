# SPDX-License-Identifier: Apache-2.0
"""`uspnet pktgen`."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import app
from uspnet.cli import examples as e
from uspnet.cli import made as p
from uspnet.cli import measured as m
from uspnet.cli import options as o
from uspnet.cli import profile as q
from uspnet.cli import replay as r
from uspnet.cli.offered import check_dry, check_files, generating
from uspnet.cli.rates import BurstGap, BurstSize, Link, Poisson, RampOption, Rate, Rates
from uspnet.jobs.choices import Poll, Sandbox
from uspnet.ports.pcap.kinds import Truncated

if TYPE_CHECKING:
    from uspnet.cli.checks import Check
    from uspnet.jobs.job import AnyJob

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Send nothing, and do not open the port: write to the file of -w what would be sent, "
        "stamped with when it would be due, in seconds from the start of the run.",
    ),
]
Write = Annotated[str | None, o.written("The pcapng file that --dry-run writes; -: to stdout.")]
Linger = Annotated[
    float,
    typer.Option(
        "--linger",
        metavar="TIME",
        parser=units.time_between(0, 1e9),
        help="Stay connected this long after the last packet.",
    ),
]


@app.command()
def pktgen(
    context: typer.Context,
    port: q.Port = None,
    size: p.Size = p.DEFAULT_SIZE,
    rate: Rate = None,
    link: Link = None,
    ramp: RampOption = None,
    burst_size: BurstSize = None,
    burst_gap: BurstGap = None,
    poisson: Poisson = False,
    packet: p.Packet = None,
    pcap: p.Pcap = None,
    vary: p.Vary = None,
    flows: p.FlowCount = None,
    zipf: p.Zipf = None,
    seed: p.Seed = 1,
    broken: p.Broken = None,
    break_every: p.BreakEvery = None,
    rx_port: m.RxPort = None,
    sequence: m.Sequence = None,
    save: m.Save = None,
    plot: m.PlotOption = None,
    answer: m.Answer = None,
    lost: m.Lost = None,
    per_flow: m.PerFlow = False,
    src_mac: p.SrcMac = "02:00:00:00:00:01",
    dst_mac: p.DstMac = "02:00:00:00:00:02",
    src_ip: p.SrcIp = "198.18.0.1",
    dst_ip: p.DstIp = "198.18.0.2",
    src_port: p.SrcPort = 1024,
    dst_port: p.DstPort = 9,
    profile: q.File = None,
    example: e.Example = None,
    replay: r.Files = None,
    loop: r.Loop = 1,
    merge: r.Merge = False,
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

    given = {name for name in context.params if o.was_given(context, name)}
    header = (src_mac, dst_mac, src_ip, dst_ip, src_port, dst_port)
    made = p.Made(header, size, packet, pcap, vary, flows, zipf, seed, broken, break_every)
    rewriting = r.Rewriting(map_ip, map_port, vlan, src_mac, dst_mac, made.wrong())
    replays = r.Replays(replay, loop, speed, topspeed, truncated, only, split_by, rewriting, merge)
    measured = m.Measured(rx_port, sequence, save, plot, answer, lost, per_flow)
    profiles = q.Profiles(profile, port, example)
    profiles.check(given)
    check_dry(write, given, dry=dry_run)
    replays.check(given)
    outs = [made.port(each) for each in (port, second_port) if each is not None and not profile]
    written = {"--lost": lost, "--save": save, "--plot": plot, "-w": write}
    written["PORT"] = outs[0].spec.given.get("out") if outs else None
    check_files(written, {"--pcap": pcap, "--profile": [profile] if profile else None})
    files, nets = measured.files(port or f"--profile {profile}"), measured.answers()
    rates = Rates(rate, link, ramp, burst_size, burst_gap, poisson)
    back = measured.port({port: outs[0]}) if port and outs else None
    process = o.Process(in_process, restart, sandbox, no_sandbox)
    duration = rates.duration(duration)
    limits = o.limits(duration, count, cores, burst, poll, process, reconnect=reconnect)
    limits.linger = linger
    job: AnyJob
    if profile:
        job = profiles.job(limits, written, context.find_root().command, measured, files)
    elif replay:
        job = replays.job(outs, limits, rate, link, given, nets)
    else:
        traffic = made.traffic(given, numbered=measured.numbered)
        traffic.shape = rates.shape(traffic.mean(), seed)
        job = generating(outs[0], back, write, limits, traffic, files, nets, per_flow=per_flow)
    limits.poll = Poll.busy.value if poll is None and job.is_timed() else limits.poll
    verb = "received" if rx_port and not dry_run else "sent"
    checks = conditions(fail_on_loss, require, verb, count)
    tell_of_interface(context, "pktgen", quiet=quiet or dry_run)
    ask_before_default_route(*(outs or job.ports), yes=yes or dry_run)
    run(job, Shown(json, quiet, bool(verbose), interval, plot == "-"), checks)


def conditions(
    fail_on_loss: float | None, require: int | None, verb: str, count: int | None
) -> list[Check]:
    """Return what makes a run a failure. `verb`: what has to be done to the packets required."""
    from uspnet.cli.checks import lossless, required, unsent_or_lost

    return [
        *lossless(fail_on_loss, unsent_or_lost),
        *required(require, verb, attrgetter(verb), count),
    ]
