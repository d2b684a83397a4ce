# SPDX-License-Identifier: Apache-2.0
"""`uspnet capture`, with dumpcap's option letters."""

from __future__ import annotations

import typer

from uspnet.cli import app
from uspnet.cli import captured as c
from uspnet.cli import less as l
from uspnet.cli import options as o
from uspnet.cli import triggered as t
from uspnet.cli import watched as w
from uspnet.jobs.choices import Sandbox
from uspnet.ports.pcap.kinds import Compression, Format, Slice, Writing


@app.command()
def capture(
    context: typer.Context,
    port: w.Port = None,
    words: c.Words = None,
    job: w.Job = None,
    number: w.Number = None,
    dropped: w.Dropped = False,
    write: c.Write = None,
    only: c.Only = None,
    listing: c.Listing = False,
    kind: c.Kind = Format.pcapng,
    snaplen: c.SnapLen = 0,
    cut: l.Slice_ = Slice.none,
    dedup: l.Dedup_ = None,
    first: l.First_ = None,
    buffer: c.Buffer = 64,
    group_read: c.GroupRead = False,
    comments: c.Comments = None,
    compress: c.Compress = Compression.none,
    update_interval: c.UpdateInterval = None,
    writing: c.Writing_ = Writing.auto,
    autostop: c.Autostop = None,
    ring: c.RingBuffer = None,
    pre_trigger: t.PreTrigger = None,
    on: t.On = None,
    after: t.After = None,
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
    statistics: c.Statistics = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = 0,
) -> None:
    """Capture packets to a pcapng or pcap file; without -w, count them.

    Options, and the filter, are for all ports but those that have their own filter or snap length:
    'PORT,filter=tcp port 443,snaplen=96'. A pcapng file says of each packet which port it came in
    by; and of one from --job, whether the job received or sent it.

    A job does not wait for whoever captures from it: copies for which there is no time are
    dropped as no_room.

    What a filter rejects is counted as filtered; neither that nor what --dedup and --first leave
    out is in --count.

    Packets count as lost when they were dropped here, or missed by the kernel or the device.
    --fail-on-loss compares them with all that arrived.
    """
    from uspnet.cli.apart import apart
    from uspnet.cli.checks import lossless_on_receive, required
    from uspnet.cli.confirm import tell_of_interface
    from uspnet.cli.run import run
    from uspnet.cli.views.live import Shown
    from uspnet.jobs.capture import CaptureJob

    ports, rest = w.ports_of(port, words, job, number, dropped=dropped, listing=listing)
    chosen = c.filter_of(only, rest)
    if listing:
        c.show_filter([own.only or chosen for own in apart(ports)[1]] or [chosen], json=json)
        return
    sink = c.sink_of(
        context,
        write,
        kind,
        (snaplen, buffer),
        comments,
        c.rotation_of(ring, autostop, json=json),
        len(ports),
        t.trigger_of(pre_trigger, on, after),
        group_read=group_read or None,
        compress=compress.value,
        update_interval=update_interval,
        writing=writing.value,
        slice=cut.value,
    )
    duration, count = c.stops(autostop, duration, count)
    process = o.Process(in_process, restart, sandbox, no_sandbox)
    limits = o.limits(duration, count, cores, burst, poll, process, reconnect=reconnect)
    made, own = apart(ports)
    running = CaptureJob(made, limits, sink, chosen, l.less_of(dedup, first), own)
    checks = [
        *lossless_on_receive(fail_on_loss, lambda r: r.received),
        *required(require, "received", l.wanted, count),
    ]
    tell_of_interface(context, "capture", quiet=quiet)
    interval = interval or (1.0 if statistics else None)
    with t.pulled_by_signal(sink):
        run(running, Shown(json, quiet, bool(verbose), interval), checks)
