# SPDX-License-Identifier: Apache-2.0
"""`uspnet attach`."""

from __future__ import annotations

from typing import Annotated

import typer

from uspnet.cli import app
from uspnet.cli import attached as a
from uspnet.cli import options as o
from uspnet.jobs.choices import OnFull, Poll, Sandbox


@app.command()
def attach(
    port: o.Port,
    name: a.Name = None,
    address: a.Addresses = None,
    mtu: a.Mtu = None,
    mac: a.Mac = None,
    only: a.Only = None,
    to: a.To = None,
    tee: a.Tee = False,
    offload: a.Offload = True,
    on_full: Annotated[
        OnFull,
        typer.Option(
            help="When a port has no room: drop packets, or wait, which slows the sender down."
        ),
    ] = OnFull.drop,
    duration: o.Duration = None,
    count: o.Count = None,
    cores: o.Cores = None,
    burst: o.Burst = 64,
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
    """Keep a port that uspnet drives as an interface of the kernel, with name, addresses, routes.

    The interface is a TAP with the port's MAC address and MTU. It has a carrier while the port has
    a link or a peer, and is gone when the command ends, however that ends.

    Packets count as lost when they were dropped here, or missed by the kernel or a device.
    --fail-on-loss compares them with all that arrived.
    """
    from uspnet.cli.checks import lossless_on_receive, required
    from uspnet.cli.run import run
    from uspnet.cli.views.live import Shown
    from uspnet.jobs.attach.job import AttachJob
    from uspnet.ports.registry import make_port

    made = make_port(port)
    process = o.Process(in_process, restart, sandbox, no_sandbox)
    waits = poll or Poll.sleep  # a loop that spins takes the core from those whose packets it moves
    limits = o.limits(duration, count, cores, burst, waits, process, reconnect=reconnect)
    asked = a.Asked(name, address or [], mtu, mac, only, to, tee, offload, on_full)
    job = AttachJob(made, limits, asked.attaching(made))
    checks = [
        *lossless_on_receive(fail_on_loss, lambda r: r.received + r.copied),
        *required(require, "forwarded", lambda result: result.forwarded, count),
    ]
    run(job, Shown(json, quiet, bool(verbose), interval), checks)
