# SPDX-License-Identifier: Apache-2.0
"""doctor: problems that would stop uspnet from working here, and the command that fixes each."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from uspnet.answer import Answer
from uspnet.binding.machine import this_machine
from uspnet.binding.names import resolve
from uspnet.errors import NoDevice, NotSupported, Refused, UspnetError
from uspnet.jobs import doctor_nic
from uspnet.jobs.doctor_sandbox import sandbox_rows
from uspnet.jobs.doctor_xdp import xdp_rows
from uspnet.memory import memory_available
from uspnet.packets.filter import version as filter_version
from uspnet.pci.sysfs import HOST
from uspnet.ports.qemu import models
from uspnet.ports.registry import make_port
from uspnet.ports.xdp.options import XdpOptions
from uspnet.sandbox.available import available
from uspnet.spec import parse, shown
from uspnet.system import children
from uspnet.transports.qemu import machine as qemu

State = Literal["ok", "note", "problem"]

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}  # capability.h
CAP_IPC_LOCK = 14
HUGE_KIB = 2048
POOL_KIB = 64 << 10  # more than a job with a few ports takes
KERNEL = (5, 3)  # pidfd_open
TOOLS = {  # their purpose, and their Debian packages
    "tshark": ("reads capture files", "tshark"),
    "tcpdump": ("reads capture files", "tcpdump"),
    "dpdk-testpmd": ("a peer to test against", "dpdk-dev"),
}
TOOL_S = 5.0  # for a tool to print its version


@dataclass(frozen=True)
class Check:
    """One check."""

    check: str
    """What was checked."""
    state: State
    """`ok`, `note` (works, with limits) or `problem`."""
    found: str
    """What was found."""
    mend: str = ""
    """The command that fixes it; empty where nothing needs to be fixed."""


def _fields(path: str) -> dict[str, str]:
    """Parse `name: value` lines of /proc; the first of several equal names counts."""
    found: dict[str, str] = {}
    for line in HOST.lines(path):
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found


def kernel() -> Check:
    """Check that the kernel is new enough."""
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= KERNEL:
        return Check("kernel", "ok", f"Linux {release}")
    found = f"Linux {release}: {'.'.join(map(str, KERNEL))} or newer is needed"
    return Check("kernel", "problem", found, "apt-get dist-upgrade; reboot")


def cores() -> Check:
    """Check how many workers can run at the same time."""
    usable = sorted(os.sched_getaffinity(0))
    listed = ", ".join(map(str, usable))
    if len(usable) > 1:
        return Check("cores", "ok", f"{len(usable)} usable: {listed}")
    return Check("cores", "note", f"only core {listed}: sender and receiver share it")


def clock() -> Check:
    """Check that the cycle counter has the same, constant rate on every core."""
    source = HOST.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if platform.machine() != "x86_64":
        return Check("clock", "ok", f"architected counter, kernel clock {source or 'unknown'}")
    flags = _fields("proc/cpuinfo").get("flags", "").split()
    if {"constant_tsc", "nonstop_tsc"} <= set(flags):
        return Check("clock", "ok", f"constant TSC, kernel clock {source or 'unknown'}")
    found = f"the CPU does not promise a constant TSC (kernel clock {source or 'unknown'})"
    return Check("clock", "note", found + ": rates and times may be wrong")


def memory() -> Check:
    """Check that there is memory for packets."""
    free = memory_available()
    state: State = "ok" if free >= POOL_KIB << 10 else "problem"
    fix = "" if state == "ok" else "free some memory; a job needs about 64 MiB"
    return Check("memory", state, f"{free >> 20:,} MiB available", fix)


def huge_pages() -> Check:
    """Check for huge pages."""
    fields = _fields("proc/meminfo")
    free, size = fields.get("HugePages_Free", "0"), fields.get("Hugepagesize", "0 kB")
    if int(free) and int(size.split()[0]) == HUGE_KIB:
        return Check("huge pages", "ok", f"{free} free, of 2 MiB")
    return Check("huge pages", "note", "none free: they are optional", "sysctl vm.nr_hugepages=64")


def locked_memory(effective: int) -> Check:
    """Check that packet memory can be locked for DMA. `effective`: this process's capabilities."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or effective >> CAP_IPC_LOCK & 1:
        return Check("locked memory", "ok", "no limit")
    if soft >= POOL_KIB << 10:
        return Check("locked memory", "ok", f"up to {soft >> 20:,} MiB")
    found = f"up to {soft >> 10:,} KiB: NICs need more"
    return Check("locked memory", "note", found, "ulimit -l unlimited (as root)")


def capabilities(effective: int) -> list[Check]:
    """Check which of the kernel's interfaces this process may use."""
    rows = []
    for name, bit in CAPABILITIES.items():
        if effective >> bit & 1:
            rows.append(Check(name, "ok", "this process has it"))
        else:
            rows.append(Check(name, "note", "not held", "run as root, or: sudo uspnet …"))
    return rows


def tun() -> Check:
    """Check that TAP interfaces can be created."""
    if not Path("/dev/net/tun").exists():
        return Check("/dev/net/tun", "note", "missing: no tap: ports", "modprobe tun")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return Check("/dev/net/tun", "note", "no permission", "run as root")
    return Check("/dev/net/tun", "ok", "present")


def tool(name: str) -> Check:
    """Check one optional program and its version."""
    purpose, package = TOOLS[name]
    found = children.find_program(name)
    if not found:
        return Check(name, "note", f"missing; {purpose}", f"apt-get install {package}")
    if name == "dpdk-testpmd":  # it reserves huge pages before it prints its version
        return Check(name, "ok", purpose)
    said = version(found)
    if said is None:
        return Check(name, "note", "does not run", f"apt-get install --reinstall {package}")
    return Check(name, "ok", said or purpose)


def version(program: str) -> str | None:
    """Return the first line that a program prints for --version; None if it does not run."""
    try:
        run = subprocess.run(  # noqa: S603 - of TOOLS, or the QEMU that ports would start
            [program, "--version"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TOOL_S,
            cwd="/",
            env=children.environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (run.stdout or run.stderr).strip().splitlines()
    return lines[0].rstrip(".") if lines else ""


def filters() -> Check:
    """Check for what compiles the filters of `pktgen --replay`."""
    try:
        return Check("libpcap", "ok", filter_version())
    except NotSupported as error:
        return Check("libpcap", "note", "missing; compiles --filter and --split-by", error.hint)


def emulator() -> Check:
    """Check which NICs can be emulated."""
    try:
        said = version(qemu.binary())
    except (NoDevice, Refused) as error:
        return Check("QEMU", "note", f"{error.message}: no qemu: ports", error.hint)
    found = re.search(r"version (\d+)\.(\d+)", said or "")
    if not found:
        fix = f"{qemu.INSTALL}, and unset USPNET_QEMU"
        return Check("QEMU", "note", "its binary does not run, or is another program's", fix)
    have = tuple(map(int, found.groups()))
    wanted = {name: nic.models[name].since for name, nic in models().items()}
    lack = [name for name, since in wanted.items() if have < tuple(map(int, since.split(".")))]
    if not lack:
        return Check("QEMU", "ok", said or "")
    missing = ", ".join(f"{name} (since {wanted[name]})" for name in sorted(lack))
    return Check("QEMU", "note", f"{found[0]} is too old for {missing}", qemu.upgrade())


def port(spec: str) -> Check:
    """Check that a job could open this port now."""
    try:
        driver = make_port(spec)
        spec = driver.name
        driver.check()
    except UspnetError as error:
        return Check(shown(spec), "problem", error.message, error.hint)
    except OSError as error:
        return Check(shown(spec), "problem", error.strerror or str(error), "run as root")
    return Check(spec, "ok", driver.help)


def pci_address(text: str) -> str | None:
    """Return the address of the PCI function that a port spec or an interface's name stands for,
    be it a NIC or not; None for anything else.
    """
    with contextlib.suppress(UspnetError):
        spec = parse(text)
        return spec.target if spec.scheme == "pci" else None
    with contextlib.suppress(UspnetError):
        return resolve(HOST, text)
    return None


def nic_needs(*, needed: bool) -> list[Check]:
    """Check what PCI NICs need of the machine; only notes unless `needed`."""
    rows = (Check(*row) for row in doctor_nic.machine_rows(HOST))
    return [row if needed or row.state == "ok" else replace(row, state="note") for row in rows]


def nic(spec: str, address: str) -> list[Check]:
    """Check one PCI NIC."""
    try:
        return [Check(*row) for row in doctor_nic.nic_rows(this_machine(), address)]
    except UspnetError as error:
        return [Check(spec, "problem", error.message, error.hint)]


def xdp(spec: str | None) -> list[Check]:
    """Check the interface of an `xdp:` port."""
    with contextlib.suppress(UspnetError):  # named by `port` already
        parsed, options = parse(spec or ""), make_port(spec or "").options
        if isinstance(options, XdpOptions):
            return [Check(*row) for row in xdp_rows(parsed.target, options)]
    return []


@dataclass(frozen=True, kw_only=True)
class Examination(Answer):
    """The checks of this machine, and of one port."""

    port: str | None
    """The port that was also checked; null: none."""
    problems: int
    """How many checks found a problem."""
    checks: tuple[Check, ...]
    """Every check."""


def examine(spec: str | None) -> Examination:
    """Run every check; with `spec`, also those of this port."""
    effective = int(_fields("proc/self/status").get("CapEff", "0"), 16)
    plain: list[Callable[[], Check]] = [kernel, cores, clock, memory, huge_pages]
    checks = [look() for look in plain]
    checks += [locked_memory(effective), *capabilities(effective), tun()]
    checks += [Check(*row) for row in sandbox_rows(available())]
    checks += [filters(), *(tool(name) for name in TOOLS), emulator()]
    address = None if spec is None else pci_address(spec)
    rows = [] if spec is None else nic(spec, address) if address else [port(spec)]
    checks += [*nic_needs(needed=len(rows) > 1), *rows, *xdp(spec)]
    return Examination(
        command="doctor",
        port=spec,
        problems=sum(check.state == "problem" for check in checks),
        checks=tuple(checks),
    )
