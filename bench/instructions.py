# SPDX-License-Identifier: Apache-2.0
"""Instructions a packet of the forwarding loops and pktgen's two, counted by valgrind's callgrind.

Two memif rings in ordinary memory; this script plays the peer: it fills the receive ring, runs
`loop_forward` until that is empty, and drains the transmit ring. Only what happens inside
`loop_forward`, or for pktgen `loop_generate` and `loop_measure`, or inside one ring's function
alone, is counted, and the count of one phase is the difference between runs of three and of two
phases, so that the loop's start, its end and the first filling cancel out. Valgrind runs this file
as a script, `instructions.py count PATH …`, which has it write down each run's count.
`instructions.py record` keeps the counts of this compiler in instructions.json;
tests/fastpath/test_instructions.py holds them.
"""

from __future__ import annotations

import gc
import json
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import files
import generators
import modes
import virtqueues
from lab import ROOT, BenchError, need
from memif_rings import FRAME, SLOTS, FlowsBench, MeasureBench, MemifBench
from observing import BURST, ask_valgrind, make_worker, observe, prepared
from packet_rings import PacketBench
from rings import RINGS, NicBench, Vmxnet3Bench
from xdp_rings import XdpBench

NICS = {f"{ring} to {ring} (NIC)": ring for ring in RINGS}
GENERATE = {f"{kind} to null": kind for kind in generators.KINDS}
MEASURE = {"memif, copying (server) to measure": MeasureBench}
MEASURE |= {"memif, copying (server) to measure, per flow": FlowsBench}
VMXNET3 = "vmxnet3 to vmxnet3 (NIC)"
XDP = "xdp to xdp"
PACKET = "packet to null"
ALONE = {"xdp, receive alone": "xdp_rx", "xdp, transmit alone": "xdp_tx"}  # and this function
PLAYED = {VMXNET3: Vmxnet3Bench, PACKET: partial(PacketBench, SLOTS)}
PLAYED |= dict.fromkeys([XDP, *ALONE], partial(XdpBench, SLOTS))
FILES = {f"{kind} to null": kind for kind in files.KINDS}
MODES = {f"fwd --mode {mode}, file to null": mode for mode in modes.MODES}
VIRTQS = {f"{name} to {name}": kind for name, kind in virtqueues.VIRTQS.items()}
PATHS = [
    "memif to memif, copying (server)",
    "memif to memif, zero copy (client)",
    "null to null",
    *GENERATE,
    *MEASURE,
    *NICS,
    VMXNET3,
    XDP,
    *ALONE,
    PACKET,
    *VIRTQS,
    *FILES,
    *MODES,
]
Run = tuple[int, int]  # instructions inside the loop, packets that left it
RECORD = Path(__file__).with_name("instructions.json")
LOOPS = ("forward", "generate", "measure", "switch", "rules", "balance", "impair", "route")
VALGRIND = ["valgrind", "--tool=callgrind"]
NULL_S = 2.0  # under valgrind


def count_all(names: Sequence[str] = PATHS) -> dict[str, float]:
    """Return the instructions a packet of these paths."""
    need("valgrind")
    return {name: per_packet(*runs) for name, runs in collected(names).items()}


def per_packet(first: Run, second: Run = (0, 0)) -> float:
    """Return the instructions of one packet: of those that the longer run has more."""
    return (second[0] - first[0]) / (second[1] - first[1])


def phases_of(name: str) -> tuple[int, ...]:
    """Return the phases of the runs that a path needs."""
    return (1,) if name.startswith("null") else (2, 3)


def compiler() -> str:
    """Return what the counts depend on: compiler, its major version, processor."""
    command = [*shlex.split(sysconfig.get_config_var("CC") or "cc"), "-dumpversion"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f"gcc {version.partition('.')[0].strip()}, {platform.machine()}"


def recorded() -> dict[str, dict[str, float]]:
    """Return the recorded counts: by compiler, by path."""
    return dict(json.loads(RECORD.read_text()))


def record() -> None:
    """Record today's counts for this compiler."""
    kept = recorded()
    kept[compiler()] = {name: round(figure, 1) for name, figure in count_all().items()}
    RECORD.write_text(json.dumps(kept, indent=4, sort_keys=True) + "\n")


def collected(names: Sequence[str]) -> dict[str, list[Run]]:
    """Return what each path's runs came to."""
    whole = [name for name in names if name not in ALONE]
    found = counted_in(whole, [f"loop_{name}" for name in LOOPS]) if whole else {}
    for name in ALONE.keys() & set(names):
        found |= counted_in([name], [ALONE[name]])
    return found


def counted_in(names: Sequence[str], functions: Sequence[str]) -> dict[str, list[Run]]:
    """Return what the runs of these paths came to, inside these functions."""
    numbers = [str(PATHS.index(name)) for name in names]
    script = [sys.executable, str(Path(__file__).resolve()), "count", *numbers]
    toggles = [f"--toggle-collect={name}" for name in functions]
    found: dict[str, list[Run]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        out = f"--callgrind-out-file={folder}/run"
        # until `observe`, without instrumentation: twice as fast
        command = [*VALGRIND, out, "--instr-atstart=no", *toggles, *script]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError("valgrind failed\n" + done.stderr[-500:])
        for number, line in enumerate(done.stdout.splitlines(), 1):
            path, packets = map(int, line.split())
            total = re.search(
                r"^totals: (\d+)", Path(folder, f"run.{number}").read_text(), re.MULTILINE
            )
            found[PATHS[path]].append((int(total[1]) if total else 0, packets))
    return found


def forward_memif(phases: int, *, zero: bool) -> int:
    """Packets forwarded in so many phases."""
    bench = MemifBench(zero=zero)
    for _ in range(phases):
        bench.phase()
    packets = int(bench.tx.q.counters.packets)
    if packets != phases * SLOTS or bench.rx.q.counters.errors or bench.tx.q.fault:
        raise BenchError(f"forwarded {packets} of {phases * SLOTS} packets")
    return packets


def measure(phases: int, kind: type[MeasureBench]) -> int:
    """Packets measured in so many phases."""
    bench = kind(zero=False)
    for _ in range(phases):
        bench.phase()
    if (received := int(bench.worker.loop.streams[0].received)) != phases * SLOTS:
        raise BenchError(f"measured {received} of {phases * SLOTS} packets")
    return received


def forward_nic(
    phases: int,
    bench: NicBench | Vmxnet3Bench | virtqueues.VirtqBench | XdpBench | PacketBench,
) -> int:
    """Packets forwarded in so many phases."""
    worker = make_worker(bench.rx, bench.tx, bench.stack)
    for _ in range(phases):
        bench.device()
        worker.c.stop = worker.c.idle_since = 0
        bench.lib.loop_forward(worker.c)
    packets = int(bench.tx.q.counters.packets)
    if packets != phases * bench.slots or bench.rx.q.counters.errors or bench.tx.q.counters.errors:
        raise BenchError(f"forwarded {packets} of {phases * bench.slots} packets")
    return packets


def forward_null() -> int:
    """Packets forwarded from null to null."""
    from tests.support.queue_rig import QueueRig  # noqa: PLC0415 - only inside valgrind
    from uspnet.fastpath import lib  # noqa: PLC0415
    from uspnet.jobs.worker import Clock  # noqa: PLC0415

    rig = QueueRig(4 * BURST)
    rx, tx = (rig.queue("null_queue", f"null_{way}", {"length": FRAME}) for way in ("rx", "tx"))
    worker = make_worker(rx, tx, rig.stack)
    worker.c.deadline = lib.ticks_now() + int(Clock().hz() * NULL_S)
    lib.loop_forward(worker.c)
    return int(tx.q.counters.packets)


def generate(phases: int, kind: str) -> int:
    """Packets sent in so many phases, as fast as the port takes them."""
    from uspnet.jobs.generate import GenerateJob  # noqa: PLC0415 - only inside valgrind
    from uspnet.jobs.plan import Limits  # noqa: PLC0415
    from uspnet.ports.registry import make_port  # noqa: PLC0415

    limits = Limits(count=phases * SLOTS, burst=BURST, poll="busy")
    with GenerateJob(make_port("null:"), limits, generators.traffic(kind)) as job:
        observe()
        return job.run().sent


def forward_file(phases: int, path: str) -> int:
    """Packets read from a file of so many phases."""
    if path in MODES:
        among = modes.ModeBench(MODES[path], phases * SLOTS)
        prepared(among.worker)
        return among.run()
    bench = files.FileBench(FILES[path], phases * SLOTS)
    worker = make_worker(bench.rx, bench.tx, bench.stack)
    bench.lib.loop_forward(worker.c)
    packets = int(bench.tx.q.counters.packets)
    if packets != phases * SLOTS or bench.rx.q.counters.errors:
        raise BenchError(f"forwarded {packets} of {phases * SLOTS} packets")
    return packets


def forward(which: int, phases: int) -> int:
    """Packets forwarded on a path in so many phases."""
    if PATHS[which].startswith("null"):
        return forward_null()
    if PATHS[which] in GENERATE:
        return generate(phases, GENERATE[PATHS[which]])
    if PATHS[which] in MEASURE:
        return measure(phases, MEASURE[PATHS[which]])
    if PATHS[which] in NICS:
        return forward_nic(phases, NicBench(NICS[PATHS[which]], SLOTS))
    if PATHS[which] in FILES | MODES:
        return forward_file(phases, PATHS[which])
    if PATHS[which] in PLAYED:
        return forward_nic(phases, PLAYED[PATHS[which]]())
    if PATHS[which] in VIRTQS:
        is_packed, may_merge = VIRTQS[PATHS[which]]
        return forward_nic(phases, virtqueues.VirtqBench(packed=is_packed, merges=may_merge))
    return forward_memif(phases, zero="zero" in PATHS[which])


def count_here(numbers: Sequence[str]) -> None:
    """Do the runs of these paths, and print the number of each path and its packets. Valgrind
    writes down what it has counted in each, and begins anew.
    """
    for number in map(int, numbers):
        for phases in phases_of(PATHS[number]):
            print(number, forward(number, phases))
            ask_valgrind("dump")
            ask_valgrind("instrumentation", "off")
            gc.collect()  # filters: the more there are, the longer one is looked for


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record()
    else:
        count_here(sys.argv[2:])
