# SPDX-License-Identifier: Apache-2.0
"""How exactly `pktgen --replay` keeps a file's own timing: numbered packets with random gaps go
over memif to a capture, whose stamps are compared with the file's.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
from itertools import accumulate
from pathlib import Path

from arrivals import MAGIC, SIGNATURE, SIGNATURE_AT, Arrivals
from lab import place
from recovery import percentiles
from tool import Uspnet

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS
BUSY = ("--poll", "busy")


def write(path: Path, packets: int, mean_ns: float) -> list[int]:
    """Write an nsecpcap file of numbered packets with exponential gaps. Return their times."""
    chance = random.Random(1)
    gaps = (round(chance.expovariate(1 / mean_ns)) for _ in range(packets))
    times = list(accumulate(gaps, initial=BEGIN_NS))[:packets]
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for number, ns in enumerate(times):
            frame = bytes(SIGNATURE_AT) + SIGNATURE.pack(MAGIC, 0, number) + bytes(8)
            file.write(struct.pack("=IIII", *divmod(ns, SECOND_NS), len(frame), len(frame)))
            file.write(frame)
    return times


def measure(packets: int, pps: float, speed: float) -> dict[str, object]:
    """Replay; return how late packets came, in microseconds, beside the earliest one."""
    with place("memif.sock") as socket, place("in") as source, place("out") as sink:
        times = write(source, packets, SECOND_NS / pps)
        server = f"memif:{socket},role=server"
        words = ("capture", server, "-w", str(sink), "-F", "nsecpcap", *BUSY)
        with Uspnet(*words, "-c", packets, core=0) as receiver:
            how = ("--replay", str(source), "--speed", f"{speed:g}", *BUSY)
            with Uspnet("pktgen", f"memif:{socket}", *how, core=1) as sender:
                sent = sender.result((times[-1] - BEGIN_NS) / SECOND_NS / speed)
            received = receiver.result(0)
        came = Arrivals(sink)
    late = [each.ns - (times[each.number] - BEGIN_NS) / speed for each in came.all]
    errors = [(each - min(late)) / 1e9 for each in late]
    shown = percentiles(errors)
    return {
        "packets": packets,
        "pps": pps * speed,
        "sent": sent["sent"],
        "received": received["received"],
        **came.faults(packets),
        "late_us": {name: value * 1000 for name, value in shown.items()},
    }


def main() -> None:
    """Measure, and print a line of JSON for each rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=50_000)
    parser.add_argument("--pps", type=float, nargs="*", default=[1e3, 1e4, 1e5])
    parser.add_argument("--speed", type=float, default=1.0)
    given = parser.parse_args()
    for pps in given.pps:
        packets = min(given.packets, int(pps * 10))
        print(json.dumps(measure(packets, pps, given.speed)), flush=True)


if __name__ == "__main__":
    main()
