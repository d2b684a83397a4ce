# SPDX-License-Identifier: Apache-2.0
"""What is measured alone, not against a rival: instructions a packet, and the time to start."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import dedup
import filters
import instructions
import large
import routes
import tool
from lab import ROOT, BenchError, place

from uspnet.jobs.forward.lpm import IPV4, IPV6

STARTS = 10
FILTERS, FILTER_S = 5, 0.5
START_LIMIT_MS = 150.0
LARGE_START_LIMIT_MS = 500.0
LARGE_MEMORY_LIMIT_MIB = 300.0
IXY_INSTRUCTIONS = 127  # a packet, forwarding at burst 32, by ixy's own count
DEDUP_LIMIT_NS = 200.0  # 5 Mpps
DELAY_LIMIT_NS = 500.0  # 2 Mpps
DELAYS, DELAY_S = 5, 2.0
WAITING = 400_000  # packets: what comes within 100 ms at 4 Mpps, more than is needed
ALONE_INSTRUCTIONS = 40  # a packet, in one direction of xdp:


@dataclass
class Figure:
    """One number; `limit` is the most it should be, None when it is for information."""

    name: str
    value: float
    limit: float | None = None


@dataclass(frozen=True)
class Cost:
    """A few numbers that should be small."""

    name: str
    title: str
    unit: str
    measure: Callable[[], list[Figure]]


def startup() -> list[Figure]:
    """`uspnet --help` beside a Python that imports what it is made of, in turns."""
    ours, bare = [], []
    for _ in range(STARTS):
        ours.append(timed([sys.executable, "-m", "uspnet", "--help"]))
        bare.append(timed([sys.executable, "-c", "import typer, rich"]))
    help_ms, bare_ms = statistics.median(ours), statistics.median(bare)
    return [
        Figure("uspnet --help", help_ms),
        Figure("python -c 'import typer, rich'", bare_ms),
        Figure("difference", help_ms - bare_ms, START_LIMIT_MS),
    ]


def timed(command: list[str]) -> float:
    """Milliseconds from start to end of a command."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed")
    return (time.perf_counter() - start) * 1000


def per_packet() -> list[Figure]:
    """Count the loops' instructions with valgrind."""
    free = [name for name in instructions.PATHS if "null" in name or "measure" in name]
    limits = dict.fromkeys(instructions.PATHS, IXY_INSTRUCTIONS) | dict.fromkeys(free)
    limits |= dict.fromkeys(instructions.ALONE, ALONE_INSTRUCTIONS)
    return [Figure(name, count, limits[name]) for name, count in instructions.count_all().items()]


def large_start() -> list[Figure]:
    """Run `pktgen --replay` of a large file, and of a small one, for a packet each."""
    with large.capture(large.SMALL_MIB) as small, large.capture(large.LARGE_MIB) as file:
        ours, least = large.start_ms(file), large.start_ms(small)
    return [
        Figure(f"a file of {large.LARGE_MIB} MiB", ours, LARGE_START_LIMIT_MS),
        Figure(f"a file of {large.SMALL_MIB} MiB", least),
    ]


def large_memory() -> list[Figure]:
    """Replay all of a large file."""
    with large.capture(large.LARGE_MIB) as file:
        peak = large.peak_mib(file)
    return [Figure(f"a file of {large.LARGE_MIB} MiB", peak, LARGE_MEMORY_LIMIT_MIB)]


def filtering() -> list[Figure]:
    """Run filters by machine code, by uspnet's interpreter and by libpcap's, in turns."""
    texts = ("", filters.REJECTS_ALL, filters.ACCEPTS_SOME)
    ways = [
        (text, kind) for text in texts for kind in (filters.KINDS if text else [filters.NATIVE])
    ]
    runs = [[filters.cost(kind, text, FILTER_S, 0) for text, kind in ways] for _ in range(FILTERS)]
    found = dict(zip(ways, map(statistics.median, zip(*runs, strict=True)), strict=True))
    return [
        Figure(
            f"{text}, {kind}" if text else "no filter",
            ns,
            found[text, filters.LIBPCAP] / 2 if text and kind == filters.NATIVE else None,
        )
        for (text, kind), ns in found.items()
    ]


def deduplicating() -> list[Figure]:
    """Capture a file of different packets, with and without looking for duplicates."""
    limits = {"--dedup 50ms": DEDUP_LIMIT_NS}
    return [Figure(way, ns, limits.get(way)) for way, ns in dedup.costs().items()]


def delaying() -> list[Figure]:
    """Have packets of a file wait, as many as come meanwhile."""
    words = ("--mode", "impair", "--delay", "100ms", "--limit", WAITING, "--poll", "busy")
    with place("x.pcap", "/dev/shm") as file:
        file.write_bytes(dedup.different())
        ports = (f"pcap:{file},loop=on", "null:")
        runs = [tool.run("fwd", *ports, *words, seconds=DELAY_S, core=0) for _ in range(DELAYS)]
    dropped = [sum(each["drops"].values()) - each["drops"]["ended"] for each in runs]
    ns = statistics.median(1e9 / each["pps"] for each in runs)
    return [Figure("a packet", ns, DELAY_LIMIT_NS), Figure("packets dropped", max(dropped), 0)]


def routing() -> list[Figure]:
    """Build tables of routes, and look addresses up."""
    found = []
    for family, count in ((IPV4, 1000), (IPV4, 100_000), (IPV4, 1_000_000), (IPV6, 100_000)):
        ns, mebibytes = routes.look_ups(family, count)
        found.append(Figure(f"{count:,} {family.name} prefixes: ns a look-up", ns))
        found.append(Figure(f"{count:,} {family.name} prefixes: MiB of memory", mebibytes))
    return found


COSTS = [
    Cost(
        "filters",
        f"mixed traffic of null: through a filter and counted, median of {FILTERS} runs",
        "ns of processor time a packet",
        filtering,
    ),
    Cost(
        "dedup",
        f"{dedup.PACKETS:,} different packets of a file, captured, median of {dedup.RUNS} runs",
        "ns a packet",
        deduplicating,
    ),
    Cost(
        "impair-delay",
        f"fwd --mode impair --delay 100ms of a file, median of {DELAYS} runs",
        "ns; packets",
        delaying,
    ),
    Cost("route-table", "longest prefix match, addresses in any order", "ns and MiB", routing),
    Cost(
        "instructions", "forward loop at burst 32, callgrind", "instructions a packet", per_packet
    ),
    Cost("startup", f"median of {STARTS} starts", "ms", startup),
    Cost("replay-start", f"replay of one packet, median of {large.STARTS}", "ms", large_start),
    Cost("replay-memory", "replay, the peaks of all its processes", "MiB", large_memory),
]
