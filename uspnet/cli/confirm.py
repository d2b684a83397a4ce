# SPDX-License-Identifier: Apache-2.0
"""What people are told or asked before a run begins."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from uspnet.cli.command import INTERFACE
from uspnet.cli.trial import is_on_trial
from uspnet.errors import Refused
from uspnet.jobs.job import AnyJob
from uspnet.kernel import netns
from uspnet.kernel.routes import carries_default_route
from uspnet.port import Port
from uspnet.spec import INTERFACE_SCHEMES
from uspnet.system import kept
from uspnet.text import printable


def ask_before_default_route(*ports: Port, yes: bool) -> None:
    """Ask before packets go to an interface that the default route needs. Raise Refused on a no,
    and where nobody can be asked.
    """
    for port in ports:
        _ask_before(port, yes=yes)


def _ask_before(port: Port, *, yes: bool) -> None:
    if yes or kept.former() or port.scheme not in INTERFACE_SCHEMES:
        return
    namespace, name = netns.split(port.spec.target)
    with netns.entered(namespace):
        via = carries_default_route(name)
    if not via:
        return
    below = "" if via == name else f", through {via}"
    text = f"{name} carries this machine's default route{below}"
    if not is_on_trial() and is_agreed(f"{printable(text)}. Send packets to it?"):
        return
    raise Refused(f"{port.name}: {text}", "add --yes, or send to another port: uspnet devices")


def is_agreed(question: str) -> bool:
    """Ask whoever sits at the terminal. Return whether the answer is yes; no without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def tell_of_endless_run(job: AnyJob) -> None:
    """Say on stderr that a run has no end of its own, when no terminal shows that it runs."""
    limits = job.limits
    if kept.former() or limits.duration is not None or limits.count is not None or _is_watched():
        return
    if not job.runs_out():
        text = "no --duration and no --count: runs until stopped: kill"
        print(f"uspnet: {text} {os.getpid()}", file=sys.stderr, flush=True)


def _is_watched() -> bool:
    return any(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


def tell_of_interface(context: Any, command: str, *, quiet: bool) -> None:
    """Say on stderr which port `-i` stands for, and which one would be faster, unless `quiet`."""
    name = context.meta.get(INTERFACE)
    if quiet or name is None or ":" in name or kept.former():
        return
    text = f"-i {name} is the port packet:{name}; {faster_port(name, command)}"
    print(f"uspnet: {printable(text)}", file=sys.stderr, flush=True)


def faster_port(name: str, command: str) -> str:
    """Say which port reaches the same wire faster."""
    from uspnet.binding.inventory import inventory
    from uspnet.binding.machine import this_machine
    from uspnet.errors import UspnetError

    try:
        nics = inventory(this_machine(), [name])
    except (UspnetError, OSError):
        nics = []  # no PCI function: a veth, say
    if not nics or not nics[0].uspnet_driver:
        if name not in (each for _, each in socket.if_nameindex()):
            return "there is no faster port for it"
        return f"uspnet {command} xdp:{name} is faster, and takes the frames from the kernel"
    nic = nics[0]
    if nic.state != "free":
        return f"faster when the interface is unused ({nic.why}): uspnet bind {nic.address}"
    return f"faster: uspnet bind {nic.address}; uspnet {command} {nic.address}"
