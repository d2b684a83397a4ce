# SPDX-License-Identifier: Apache-2.0
"""A worker process that overwrites all that it shares: run as `python -m tests.support.scribble
KIND FIRST COUNT`. Each seed is a job whose worker process is halted, has its memory written over,
and then is killed or goes on; the job's own process has to end each with a result or an error of
ours.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.support.captures import write_pcap
from uspnet import memory
from uspnet.errors import UspnetError
from uspnet.fastpath import ffi, lib
from uspnet.jobs.capture import CaptureJob, make_sink
from uspnet.jobs.choices import Swap
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.less import Dedup, First, Less
from uspnet.jobs.plan import Limits
from uspnet.jobs.profile import ProfileJob
from uspnet.jobs.reflect import Reflecting, ReflectJob
from uspnet.jobs.replay import Pace as Rate
from uspnet.jobs.replay import Replaying, ReplayJob
from uspnet.jobs.saving import Files
from uspnet.jobs.stream import Stream
from uspnet.jobs.traffic import Traffic
from uspnet.packets.answering import read_answers
from uspnet.packets.fields.rewrite import Rewrite
from uspnet.packets.filter import compile_filter
from uspnet.packets.frames import udp_template
from uspnet.packets.shape import Shape
from uspnet.ports.registry import make_port

FILE_MAX = 1 << 30  # bytes: a job that does not end fills no disk
VALUES = (0, 1, 2, 63, 64, 65, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 1 << 16, (1 << 31) - 1, 1 << 31)
HANG_S = 60
MACS, IPS = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")
GENERATED = {  # from where, to where
    "pktgen": ("null:", "null:"),
    "packet": ("packet:s0", "packet:s1"),
    "xdp": ("xdp:s0", "xdp:s1"),
    "tap": ("tap:t0", "null:"),
    "tap-offload": ("tap:t0,offload=on", "tap:t1,offload=on"),
    "qemu": ("qemu:e1000e,wire=scribble", "qemu:e1000e,wire=scribble"),
}
MODES = {  # among several ports
    "switch": Forwarding("switch"),
    "rules": Forwarding("filter", options={"rule": ["drop udp", "to:3 ip", "pass"]}),
    "balance": Forwarding("balance"),
    "impair": Forwarding("impair", options={"delay": 1e-3, "jitter": 1e-4, "duplicate": 0.1}),
}
PLACE = Rewrite(vlan=7)  # what a merged replay rewrites
PEER = (sys.executable, "-m", "uspnet", "fwd", "--in-process")


def traffic(**more):
    return Traffic([udp_template(60, *MACS, *IPS, 1024, 9)], 1e5, **more)


def profile(limits):
    there, shape = make_port("null:"), Shape((1e5,), poisson=True)
    streams = [
        Stream("s0", there, Traffic(traffic().templates, shape=shape)),
        Stream("s1", there, traffic(), count=10**9),
    ]
    return ProfileJob(streams, limits)


def filtered(limits):
    return CaptureJob(make_port("null:"), limits, None, compile_filter("ip or len > 50"))


def lessened(limits):
    less = Less(Dedup(1e-3, ("mac", "ttl"), 100), First(10**6, idle=1e-3, flows=100))
    return CaptureJob(make_port("null:"), limits, None, less=less)


MADE = {"profile": profile, "filter": filtered, "less": lessened}


class Scribbler:
    """Makes jobs of one kind, and writes over what their worker processes share with them."""

    def __init__(self, kind: str, folder: str) -> None:
        self.kind, self.folder = kind, Path(folder)
        self.name = f"@uspnet-scribble-{os.getpid()}"
        frames = [bytes(60 + n) for n in range(200)]
        if kind == "route":
            frames = [udp_template(60, *MACS, *IPS, n, 9).frame for n in range(200)]
            (self.folder / "routes").write_text(f"default via {IPS[0]} port 2 mac {MACS[0]}")
        write_pcap(self.folder / "in.pcap", frames)
        self.peer: subprocess.Popen[bytes] | None = None
        if kind.startswith("memif"):
            role = "client" if kind == "memif-server" else "server"
            words = [*PEER, "null:", f"memif:{self.name},role={role}", "--duration", "1000"]
            end = partial(lib.end_with, os.getpid())  # there are no threads yet
            self.peer = subprocess.Popen(
                words,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=end,  # noqa: PLW1509
            )

    @contextlib.contextmanager
    def fed(self):
        """Have something come through the pipe, where the kind has one."""
        if self.kind != "stream":
            yield
            return
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.folder / "fifo")
        words = f"while :; do cat {self.folder}/in.pcap; done > {self.folder}/fifo"
        feeder = subprocess.Popen(["sh", "-c", words], stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            feeder.kill()
            feeder.wait()

    def job(self):
        """Return a job that is not opened yet."""
        limits = Limits(process=True, restart=2)
        match self.kind:
            case "pktgen" | "packet" | "xdp" | "tap" | "tap-offload" | "qemu":
                there, back = GENERATED[self.kind]
                return GenerateJob(make_port(there), limits, traffic(), make_port(back))
            case "lost":
                sent = traffic(sequence=True)
                ends = [f"memif:{self.name}-lost,role={role}" for role in ("server", "client")]
                files = Files(lost=make_sink(f"{self.folder}/lost.pcapng"))
                return GenerateJob(make_port(ends[0]), limits, sent, make_port(ends[1]), files)
            case "losses":
                there = make_port("null:")
                files = Files(lost=make_sink(f"{self.folder}/lost.pcapng"))
                job = GenerateJob(there, limits, traffic(sequence=True), there, files)
                job.answer(read_answers(["10.0.0.0/8"]))
                return job
            case "profile" | "filter" | "less":
                return MADE[self.kind](limits)
            case "merge":
                files = [make_port(f"pcap:{self.folder}/in.pcap") for _ in range(2)]
                how = Replaying(None, Rate(speed=1.0), [PLACE], merge=True)
                return ReplayJob(make_port("null:"), limits, files, how)
            case "reflect":
                return ReflectJob(make_port("null:"), limits, Reflecting(Swap.port))
            case "memif-server" | "memif-client" | "memif-client-copy":
                role = self.kind.split("-")[1]
                zero = ",zero-copy=off" if self.kind.endswith("copy") else ""
                port = make_port(f"memif:{self.name},role={role}{zero}")
                return CaptureJob(port, limits, None)
        return self.forwarding(limits)

    def forwarding(self, limits):
        """Return a job that forwards."""
        source = f"pcap:{self.folder}/in.pcap,loop=on"
        ports = {
            "pcap": [source, f"pcap:out={self.folder}/out.pcapng"],
            "stream": [f"pcap:{self.folder}/fifo", f"pcap:out={self.folder}/out.pcap"],
        }.get(self.kind, ["null:", "null:"])
        if self.kind in MODES:
            ports = [source, "null:", *["null:"] * (self.kind != "impair")]
        how = MODES.get(self.kind) or Forwarding()
        if self.kind == "route":
            ports = [source, "null:"]
            how = Forwarding("route", options={"routes": f"{self.folder}/routes"})
        return ForwardJob([make_port(each) for each in ports], limits, how)

    def run(self, seed: int) -> str:
        """Run one job. Return how it ended."""
        noise = random.Random(seed)
        gc.collect()  # what jobs before have left is unmapped before another process maps it
        try:
            with self.job() as job:
                job.start()
                end, way = time.monotonic() + 5, "tx" if self.kind == "profile" else "rx"
                while not job.total(way, "packets") and time.monotonic() < end:
                    job.wait(0.001)
                time.sleep(noise.uniform(0, 0.002))
                self.meddle(job, noise)
                job.stop("signal")
                job.stop("signal")
                job.wait()
                job.result().as_json()
        except UspnetError as error:
            return type(error).__name__
        return "ended"

    def meddle(self, job, noise: random.Random) -> None:
        """Have the worker process overwrite what it shares."""
        process = job.crew.process
        if not process or process.dead():
            return
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        how = noise.choice(("words", "words", "words", "noise", "zeros", "ones"))
        for address, size in areas(process):
            scribble(address, size, how, noise)
        if noise.random() < 0.3:
            job.result().as_json()  # as the display does
        if noise.random() < 0.7:
            os.kill(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGCONT)
        if noise.random() < 0.3:
            with job.paused():
                pass
        job.wait(noise.choice((0, 0.01, 0.1)))


def areas(process) -> list[tuple[int, int]]:
    """Return all that a worker process may write to: addresses and sizes."""
    used = [(each.address, each.count * ffi.sizeof(each.kind)) for each in memory.structs()]
    writable = (m for m in process._maps.values() if not m.flags & lib.MEMORY_READ_ONLY)
    chunks = {each.address for each in memory.struct_mappings()}
    others = [(m.address, min(m.size, 1 << 20)) for m in writable if m.address not in chunks]
    return used + others


def scribble(address: int, size: int, how: str, noise: random.Random) -> None:
    """Write over memory."""
    at = ffi.buffer(ffi.cast("char *", address), size)
    match how:
        case "zeros":
            at[:] = bytes(size)
        case "ones":
            at[:] = b"\xff" * size
        case "noise":
            at[:] = noise.randbytes(size)
        case _:
            for _ in range(noise.randrange(4)):
                width = noise.choice((2, 4, 8))
                if size < width:
                    return
                place = noise.randrange(size // width) * width
                if noise.random() < 0.7:
                    place = noise.randrange(min(size, 256) // width) * width
                value = noise.choice((noise.choice(VALUES), noise.getrandbits(64)))
                value = noise.choice((value, -value)) % (1 << 8 * width)
                at[place : place + width] = value.to_bytes(width, "little")


def main(kind: str, first: int, count: int) -> None:
    """Run so many seeds, and print how they ended."""
    ends: collections.Counter[str] = collections.Counter()
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX, FILE_MAX))
    with tempfile.TemporaryDirectory() as folder:
        scribbler = Scribbler(kind, folder)
        gc.disable()  # what an earlier job leaves is not freed while it is written over
        for seed in range(first, first + count):
            gc.collect()
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            print(seed, end=" ", file=sys.stderr, flush=True)
            with scribbler.fed():
                ends[scribbler.run(seed)] += 1
        if scribbler.peer:
            scribbler.peer.kill()
            scribbler.peer.wait()
    print(json.dumps(ends))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
