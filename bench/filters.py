# SPDX-License-Identifier: Apache-2.0
"""Filters on mixed traffic in uspnet's capture, which counts what they accept. What runs a filter
differs, the loop around it does not: x86-64 machine code, as always; uspnet's interpreter; or
libpcap's bpf_filter(), called where the machine code would be.

`filters.py KIND PORT SECONDS [FILTER]`, which this file starts, is the capture.
"""

from __future__ import annotations

import ctypes
import json
import random
import signal
import struct
import sys
import time
from contextlib import ExitStack
from typing import Any

from lab import BenchError, Process, place
from tool import END_S, Uspnet, check

from uspnet import __version__
from uspnet.fastpath import c, ffi, lib
from uspnet.jobs.capture import CaptureJob
from uspnet.jobs.plan import Limits
from uspnet.packets.craft import craft
from uspnet.packets.filter import Filter, compile_filter
from uspnet.packets.filter.libpcap import library
from uspnet.ports.registry import make_port

NATIVE, INTERPRETED, LIBPCAP = "native", "interpreted", "libpcap"
REJECTS_ALL, ACCEPTS_SOME = "udp port 9", "tcp port 443"
TRAFFIC = (  # frames of 60 to 80 bytes
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/IP()/TCP(dport=443)",
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/IP()/TCP(sport=443,flags='A')",
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/IP()/TCP(dport=80)",
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/IP()/UDP(sport=53)/('x'*18)",
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/IP()/UDP(dport=4789)/('x'*18)",
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/IPv6()/TCP(dport=443)",
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/IPv6()/UDP(dport=53)",
    "Ether(src='02:00:00:00:00:01',dst='02:00:00:00:00:02')/ARP()",
)
FRAME = 60  # bytes


class Interpreted(Filter):
    """Has no machine code."""

    def native(self) -> bytes:
        """Return none."""
        return b""


class Judged(Filter):
    """Has machine code that does no more than call libpcap's interpreter."""

    def make(self) -> c.Filter:
        """Make it, with the program in an array that is kept."""
        object.__setattr__(self, "kept", ffi.new("struct filter_step[]", list(self.steps)))
        return super().make()

    def native(self) -> bytes:
        """Return a jump to bpf_filter(program, packet, wire, length)."""
        moves = b"\x89\xd1\x89\xf2\x48\x89\xfe"  # ecx = edx, edx = esi, rsi = rdi
        at = int(ffi.cast("uintptr_t", self.kept))  # type: ignore[attr-defined]
        function = ctypes.cast(library().bpf_filter, ctypes.c_void_p).value
        loads = struct.pack("<2sQ2sQ", b"\x48\xbf", at, b"\x48\xb8", function)  # rdi, rax
        return moves + loads + b"\xff\xe0"


KINDS: dict[str, type[Filter]] = {NATIVE: Filter, INTERPRETED: Interpreted, LIBPCAP: Judged}


class Filled(CaptureJob):
    """Has mixed traffic in the packets of `null:`."""

    def set_up(self) -> None:
        """Fill all buffers, wherever a packet may begin in them."""
        super().set_up()
        frames = [craft(each)[0].frame.ljust(FRAME, b"\0")[:FRAME] for each in TRAFFIC]
        chance = random.Random(1)
        for at in range(0, self.pool.count * self.pool.size - FRAME, lib.CACHE_LINE):
            self.pool.memory.map[at : at + FRAME] = chance.choice(frames)


def started(kind: str, port: str, seconds: float, text: str, core: int) -> Process:
    """Start a capture."""
    words = [sys.executable, __file__, kind, port, str(seconds), *([text] if text else [])]
    return Process(words, core)


def ended(sink: Process, kind: str, text: str, seconds: float) -> dict[str, Any]:
    """Return what a capture says at its end, in so many seconds."""
    deadline = time.monotonic() + seconds + END_S
    while not (line := sink.line(deadline)).startswith("{"):
        pass
    got: dict[str, Any] = json.loads(line)
    check(got["result"])
    found = got["result"]["filter_code"], got["result"]["discarded"] > 0
    code = {NATIVE: "x86-64", LIBPCAP: "x86-64", INTERPRETED: "interpreter"}[kind]
    if found != (code if text else None, text != REJECTS_ALL):
        raise BenchError(f"{text!r}: {found[0]} has accepted {got['result']['discarded']} packets")
    return got


def rate(kind: str, text: str, seconds: float, cores: tuple[int, int]) -> float:
    """Return the packets a second that come over memif from the generator into the capture with
    this filter, with none if it is empty. `cores`: of the generator, and of the capture.
    """
    packets = [word for each in TRAFFIC for word in ("--packet", each)]
    with place("memif.sock") as socket, ExitStack() as stack:
        sink = stack.enter_context(started(kind, f"memif:{socket},role=server", 0, text, cores[1]))
        deadline = time.monotonic() + END_S
        while not socket.exists():
            if time.monotonic() > deadline:
                raise BenchError("the capture does not begin")
            time.sleep(0.02)
        port = (f"memif:{socket},role=client", "--poll", "busy", "--duration", seconds)
        source = stack.enter_context(Uspnet("pktgen", *packets, *port, core=cores[0]))
        sent = source.result(seconds)
        sink.child.send_signal(signal.SIGINT)
        got = ended(sink, kind, text, 0)
    return float(got["result"]["received"] / sent["elapsed_s"])


def cost(kind: str, text: str, seconds: float, core: int) -> float:
    """Return the nanoseconds of processor time that a packet of `null:` takes in the capture."""
    with started(kind, "null:", seconds, text, core) as sink:
        return float(ended(sink, kind, text, seconds)["ns"])


def main(kind: str, port: str, seconds: str, text: str = "") -> None:
    """Capture for so many seconds, 0: until SIGINT, and print the result."""
    only = KINDS[kind](text, compile_filter(text).steps) if text else None
    limits = Limits(duration=float(seconds) or None, poll="busy")
    make = Filled if port == "null:" else CaptureJob
    with make(make_port(port), limits, None, only) as job:
        signal.signal(signal.SIGINT, lambda *_: job.stop("signal"))
        job.start()
        before = time.process_time()
        job.wait()
        ns = (time.process_time() - before) * 1e9
        result = job.result()
    said = {"uspnet": __version__, **result.as_json()}
    print(json.dumps({"ns": ns / max(result.received, 1), "result": said}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
