# SPDX-License-Identifier: Apache-2.0
"""`uspnet reflect`."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

import typer

from uspnet.cli import app
from uspnet.cli import options as o
from uspnet.jobs.choices import OnFull, Sandbox, Swap


@app.command()
def reflect(
    context: typer.Context,
    port: o.Port,
    swap: Annotated[
        Swap,
        typer.Option(
            help="The addresses to exchange: mac, ip and those, or port: all of them. Ports are "
            "those of TCP and UDP. Checksums stay right."
        ),
    ] = Swap.mac,
    groups: Annotated[
        bool,
        typer.Option(
            "--all", help="Reflect frames from or to multicast and broadcast addresses, too."
        ),
    ] = False,
    on_full: Annotated[
        OnFull,
        typer.Option(
            help="When the port has no room: drop packets, or wait, which slows the sender down."
        ),
    ] = OnFull.drop,
    yes: o.Yes = False,
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
    """Send back every packet that arrives: the far end of uspnet pktgen PORT --rx-port PORT.

    Frames are sent back whichever unicast address they are for. Those from or to a multicast or
    broadcast address count as filtered, unless --all is given: several reflectors would multiply
    them. Two reflectors that face each other send one frame back and forth until one of them ends.

    Packets count as lost when they were dropped here for another reason, or missed by the kernel
    or the device. --fail-on-loss compares them with all that arrived.
    """
    from uspnet.cli.checks import lossless_on_receive, required
    from uspnet.cli.confirm import ask_before_default_route, tell_of_interface
    from uspnet.cli.run import run
    from uspnet.cli.views.live import Shown
    from uspnet.jobs.reflect import Reflecting, ReflectJob
    from uspnet.ports.registry import make_port

    made = make_port(port)
    process = o.Process(in_process, restart, sandbox, no_sandbox)
    limits = o.limits(duration, count, cores, burst, poll, process, reconnect=reconnect)
    job = ReflectJob(made, limits, Reflecting(swap, groups, on_full))
    checks = [
        *lossless_on_receive(fail_on_loss, lambda r: r.received),
        *required(require, "reflected", attrgetter("reflected"), count),
    ]
    tell_of_interface(context, "reflect", quiet=quiet)
    ask_before_default_route(made, yes=yes)
    run(job, Shown(json, quiet, bool(verbose), interval), checks)
