# SPDX-License-Identifier: Apache-2.0
"""`uspnet fwd`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from uspnet.cli import app
from uspnet.cli import modes as m
from uspnet.cli import options as o
from uspnet.cli.command import MODES
from uspnet.cli.tables import asked_for, set_table
from uspnet.cli.tracing import to_trace
from uspnet.jobs.choices import OnFull, Sandbox

if TYPE_CHECKING:
    from uspnet.cli.checks import Check


@app.command()
def fwd(
    context: typer.Context,
    ports: o.Ports,
    mode: Annotated[
        str,
        typer.Option(metavar="MODE", help=f"What happens to packets on their way: {MODES}"),
    ] = "io",
    on_full: Annotated[
        OnFull,
        typer.Option(
            help="When a port has no room: drop packets, or wait, which slows the sender down."
        ),
    ] = OnFull.drop,
    mirror: m.Mirror = None,
    age: m.Age = None,
    macs: m.Macs = None,
    storm_limit: m.StormLimit = None,
    rule: m.Rules = None,
    routes: m.Routes = None,
    kernel_routes: m.KernelRoutes = None,
    delay: m.Delay = None,
    jitter: m.Jitter = None,
    loss: m.Loss = None,
    duplicate: m.Duplicate = None,
    corrupt: m.Corrupt = None,
    reorder: m.Reorder = None,
    gap: m.Gap = None,
    rate: m.Rate = None,
    bucket: m.Bucket = None,
    queue: m.Queue = None,
    link_trace: m.LinkTrace = None,
    limit: m.Limit = None,
    seed: m.Seed = None,
    set_: m.Sets = None,
    map_ip: m.MapIp = None,
    map_port: m.MapPort = None,
    trace: m.Trace = None,
    control: m.Control = None,
    set_rules: m.SetRules = None,
    set_routes: m.SetRoutes = None,
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
    fail_on_loss: o.FailOnLoss = None,
    require: o.Require = None,
    interval: o.Report = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = 0,
) -> None:
    """Forward packets between ports: between two, both ways; or as a mode decides among several.

    A capture file is replayed as fast as the other port takes it, or with its own timing:
    pcap:FILE,timing=on,speed=1.

    Packets count as lost when they were dropped here, unless the mode drops them on purpose, or
    missed by the kernel or a device. --fail-on-loss compares them with all that arrived.
    """
    if which := asked_for(context):
        set_table(ports, which, set_rules or set_routes or "", json=json, quiet=quiet)
        return
    from uspnet.cli.run import run
    from uspnet.cli.views.live import Shown
    from uspnet.jobs.forward.job import Forwarding, ForwardJob
    from uspnet.ports.registry import make_port

    made = [make_port(port) for port in ports]
    process = o.Process(in_process, restart, sandbox, no_sandbox, control)
    tracing = to_trace(trace, count)
    limits = o.limits(
        duration, None if tracing else count, cores, burst, poll, process, reconnect=reconnect
    )
    options = m.given(
        age=age,
        macs=macs,
        storm_limit=storm_limit,
        rule=rule,
        routes=routes,
        kernel_routes=kernel_routes,
        delay=delay,
        jitter=jitter,
        loss=loss,
        duplicate=duplicate,
        corrupt=corrupt,
        reorder=reorder,
        gap=gap,
        rate=rate,
        bucket=bucket,
        queue=queue,
        link_trace=link_trace,
        limit=limit,
        seed=seed,
    )
    copies = make_port(mirror) if mirror else None
    rewrite = m.rewriting(set_, map_ip, map_port)
    how = Forwarding(mode, on_full.value, options, copies, rewrite=rewrite, trace=tracing)
    job = ForwardJob(made, limits, how)
    run(job, Shown(json, quiet, bool(verbose), interval), _checks(fail_on_loss, require, count))


def _checks(fail_on_loss: float | None, require: int | None, count: int | None) -> list[Check]:
    from uspnet.cli.checks import lossless_on_receive, required

    return [
        *lossless_on_receive(fail_on_loss, lambda r: r.received + r.copied),
        *required(require, "forwarded", lambda result: result.forwarded, count),
    ]
