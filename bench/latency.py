# SPDX-License-Identifier: Apache-2.0
"""How exactly pktgen measures latency: through the kernel's bridge, with and without a delay of
netem behind it, by turns. What the delay adds to the median should be the delay.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator

from lab import BenchError, Missing, ip, veth
from tool import run

NS_A_US = 1000


@contextlib.contextmanager
def bridge() -> Iterator[str]:
    """Have what enters b0 leave by c0. Yield the network namespace."""
    with veth() as netns:
        ip(netns, "link", "add", "c0", "type", "veth", "peer", "name", "c1")
        ip(netns, "link", "add", "br0", "type", "bridge")
        for port in ("b1", "c1"):
            ip(netns, "link", "set", port, "master", "br0")
        for link in ("br0", "c0", "c1"):
            ip(netns, "link", "set", link, "addrgenmode", "none", "up")
        yield netns


@contextlib.contextmanager
def delayed(netns: str, delay_us: int) -> Iterator[None]:
    """Have the bridge's packets leave later. Raise Missing where the kernel can't."""
    place = ("-n", netns, "qdisc")
    how = ("dev", "c1", "root", "netem", "delay", f"{delay_us}us", "limit", "100000")
    done = subprocess.run(["tc", *place, "add", *how], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"tc: {done.stderr.strip()}: the kernel needs sch_netem")
    try:
        yield
    finally:
        subprocess.run(["tc", *place, "del", "dev", "c1", "root"], check=True)


def median_us(netns: str, rate: str, seconds: float) -> float:
    """Median latency of one run."""
    words = ("pktgen", "packet:b0", "--rx-port", "packet:c0", "--rate", rate)
    found = run(*words, seconds=seconds, core=0, netns=netns)
    if not found["received"]:
        raise BenchError("nothing came back")
    return float(found["latency_ns"]["p50"]) / NS_A_US


def main() -> None:
    """Print a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", default="10kpps")
    parser.add_argument("--delay-us", type=int, default=1000, help="0: only the bridge's")
    given = parser.parse_args()
    bare: list[float] = []
    late: list[float] = []
    with bridge() as netns:
        for _ in range(given.rounds):
            bare.append(median_us(netns, given.rate, given.seconds))
            if given.delay_us:
                with delayed(netns, given.delay_us):
                    late.append(median_us(netns, given.rate, given.seconds))
    row = {"rate": given.rate, "bridge_p50_us": statistics.median(bare)}
    if late:
        added = statistics.median(late) - statistics.median(bare)
        row |= {"added_us": added, "error_us": added - given.delay_us}
    print(json.dumps(row))


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"latency: {error}")
