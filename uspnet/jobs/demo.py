# SPDX-License-Identifier: Apache-2.0
"""demo: pktgen → memif → fwd → memif → capture, as three processes of uspnet, end to end; then
pktgen → emulated NIC → cable → another one → counted, where QEMU has two.

Nothing but temporary files is touched, and no privilege is needed. The sockets are gone at the
end, whatever happens; the capture file stays when everything went well.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from uspnet.answer import Answer
from uspnet.errors import DeviceTimeout, NoDevice, NotSupported, Refused, UspnetError
from uspnet.fastpath import lib
from uspnet.spec import escaped
from uspnet.system import children, streams
from uspnet.system.folders import check_folder
from uspnet.telemetry import PortCounters
from uspnet.transports.qemu.machine import binary

START_S = 20.0  # for each process to have its socket up, on a busy machine
RUN_S = 60.0  # for all packets to arrive
PATIENCE_S = 5.0  # for the last packets, when the sender has ended
TICK_S = 0.02
FRAME_BYTES = 60
FILE = "demo.pcapng"
NIC_PACKETS = 50_000  # half a second's worth
PAIRS = (("igb", "e1000e"), ("e1000e", "e1000"))  # emulated NICs; older QEMUs lack the first
# What the janitor does: others of ours may still be ending, and busy in there.
CLEAN = """
import os, shutil, sys, time
if not sys.stdin.buffer.read():
    for _ in range(50):
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        time.sleep(0.05)
        if not os.path.lexists(sys.argv[1]):
            break
"""
COUNTED = ("sent", "forwarded", "written")  # by pktgen, fwd and capture


class Interrupted(Exception):
    """A signal asked the demo to end: a wish, no error."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One process of the chain: the command, and the packets that it sent, forwarded or wrote."""

    step: str
    command: list[str]
    packets: int
    pps: float


@dataclass(frozen=True, kw_only=True)
class NicHop:
    """What became of the packets between two emulated NICs. `missing`: why there were none, and the
    `hint`; the counts are None then.
    """

    command: list[str]
    missing: str
    hint: str
    offered: int | None
    sent: int | None
    received: int | None
    lost: int | None
    pps: float | None
    tx_bytes: int | None
    rx_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class DemoResult(Answer):
    """offered = written + lost. `complete`: it was not interrupted."""

    elapsed_s: float
    ports: tuple[PortCounters, ...]
    complete: bool
    offered: int
    sent: int
    written: int
    lost: int
    pps: float
    hops: tuple[Hop, ...]
    nic: NicHop
    files: list[str]


@dataclass
class Step:
    """One process: its arguments, and what it printed."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[str] | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def launch(self) -> None:
        """Starts it. Signals from the terminal are ours to pass on: it gets its own session."""
        limits = ["--duration", f"{RUN_S:g}", "--json"]  # also when nobody is left to end it
        with_us = functools.partial(lib.end_with, os.getpid())
        null = streams.null()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - ourselves
                children.uspnet(*self.arguments, *limits),
                stdin=null,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                cwd="/",
                env=children.environment(),
                start_new_session=True,
                preexec_fn=with_us,  # noqa: PLW1509 - async-signal-safe
            )
        finally:
            os.close(null)

    def ended(self) -> bool:
        """Has the process ended?"""
        return self.process is not None and self.process.poll() is not None

    def finish(self, *, interrupt: bool = False) -> None:
        """Waits for its end, asking for it when wanted, and reads its result. Raises its error."""
        process = self.process
        if not process:
            return
        if interrupt and process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=PATIENCE_S + START_S)
        except subprocess.TimeoutExpired:
            raise DeviceTimeout(f"demo: {self.name} does not end", "see: uspnet doctor") from None
        try:
            self.result = json.loads(out)
        except ValueError:
            raise UspnetError(f"demo: {self.name} failed: {errors or out}") from None
        if "error" in self.result:
            kind = NotSupported if self.result["error"] == "NotSupported" else UspnetError
            raise kind(f"demo: {self.name}: {self.result['message']}", self.result.get("hint", ""))

    def rate(self, name: str) -> float:
        """Packets a second from its first packet to its last. `name`: what it counted."""
        active = self.result.get("active_s", 0.0)
        return self.result[name] / active if active else 0.0

    def kill(self) -> None:
        """Ends the process at once if it still runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Janitor:
    """A process that removes a folder, which we then make, when we end without a word: killed."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - ourselves
            children.python(CLEAN, str(folder)),
            stdin=subprocess.PIPE,
            cwd="/",
            env=children.environment(),
            start_new_session=True,
            # It goes on then, when somebody has stopped it.
            preexec_fn=functools.partial(lib.signal_at_parting, signal.SIGCONT),  # noqa: PLW1509
        )

    def dismiss(self) -> None:
        """All is well."""
        self.process.send_signal(signal.SIGCONT)  # somebody may have stopped it
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(b"all is well")


def _temporary_folder() -> Path:
    """Where temporary files go, if no other user can put something else in their place."""
    folder = Path(tempfile.gettempdir()).resolve()
    try:
        check_folder(folder)
    except Refused as error:
        raise Refused(error.message, "name a folder of yours: TMPDIR=~ uspnet demo") from None
    return folder


class Demo:
    """Runs `count` packets through the chain. A context manager: leaving it ends everything."""

    def __init__(self, count: int, write: str | None) -> None:
        self.count = count
        self.on_notice: Callable[[str], None] = lambda _text: None
        self.undo = contextlib.ExitStack()
        self.kept = self.stopped = False
        self.folder = _temporary_folder() / f"uspnet-demo-{secrets.token_hex(8)}"
        self.file = Path(write).absolute() if write else self.folder / FILE
        self.sockets = [self.folder / "a.sock", self.folder / "b.sock"]
        self.steps = self._steps()
        self.nic = Step("emulated NIC", [])
        self.without_nic: UspnetError | None = None  # why there was none

    def _steps(self) -> list[Step]:
        first, second = (escaped(str(path)) for path in self.sockets)
        count, wait = str(self.count), f"wait={START_S:g}"
        server, client = f"memif:{first},role=server", f"memif:{first},{wait}"
        capture = ["capture", f"memif:{second},role=server", "-w", str(self.file), "-c", count]
        forward = ["fwd", server, f"memif:{second},{wait}", "--on-full", "wait"]
        generate = ["pktgen", client, "--count", count, "--size", str(FRAME_BYTES)]
        return [Step("capture", capture), Step("fwd", forward), Step("pktgen", generate)]

    def _nic_step(self, sender: str, receiver: str) -> Step:
        wire, count = f"wire={escaped(str(self.folder))}/wire", str(min(self.count, NIC_PACKETS))
        ports = [f"qemu:{sender},{wire}", "--rx-port", f"qemu:{receiver},{wire}"]
        return Step("emulated NIC", ["pktgen", *ports, "--count", count])

    def stop(self) -> None:
        """Ends the run; may be called from a signal handler."""
        self.stopped = True

    def __enter__(self) -> Self:
        self.undo.callback(Janitor(self.folder).dismiss)
        self.undo.callback(self._clean)
        self.folder.mkdir(mode=0o700)
        return self

    def __exit__(self, *exc: object) -> None:
        self.undo.close()

    def _clean(self) -> None:
        for step in (*self.steps, self.nic):
            step.kill()
        for socket in self.sockets:
            socket.unlink(missing_ok=True)
        if not self.kept or self.file.parent != self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> DemoResult:
        """Runs the chain. Raises what its steps raise."""
        capture, forward, generate = self.steps
        with self._interruptible():
            for step, socket in zip((capture, forward), reversed(self.sockets), strict=True):
                self.on_notice(f"starting {step.name}")
                step.launch()
                self._until(socket.exists, START_S, step)
            self.on_notice(f"starting pktgen: {self.count:,} packets")
            generate.launch()
            self._until(generate.ended, START_S + RUN_S, forward, capture)
            generate.finish()
            with contextlib.suppress(DeviceTimeout):  # packets were lost: the result says so
                self._until(capture.ended, PATIENCE_S)
            capture.finish(interrupt=True)
            forward.finish(interrupt=True)
            self._run_nic()
            self.kept = True
        return self.result()

    def _run_nic(self) -> None:
        """Sends from one emulated NIC to another, if this QEMU has any. Not having it is no error:
        `without_nic` says so.
        """
        try:
            binary()
        except (NoDevice, Refused) as error:
            self.without_nic = error
            return
        for pair in PAIRS:
            self.nic = self._nic_step(*pair)
            self.on_notice(f"starting QEMU twice: {' and '.join(pair)}")
            self.nic.launch()
            self._until(self.nic.ended, START_S + RUN_S)
            try:
                self.nic.finish()
            except NotSupported as error:
                self.without_nic = error
            else:
                self.without_nic = None
                return

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except Interrupted:
            kept = self.file.parent != self.folder
            left = f"{self.file} is incomplete" if kept else "nothing is left behind"
            self.on_notice(f"interrupted: {left}")

    def _until(self, done: Callable[[], bool], seconds: float, *alive: Step) -> None:
        """Waits. A step in `alive` that ends in the meantime early says why."""
        end = time.monotonic() + seconds
        while not done():
            if self.stopped:
                raise Interrupted
            for step in alive:
                if step.ended() and not step.result:
                    step.finish()
            if time.monotonic() > end:
                raise DeviceTimeout("demo: the chain makes no progress", "see: uspnet doctor")
            time.sleep(TICK_S)

    def result(self) -> DemoResult:
        """The chain's counts."""
        capture, forward, generate = (step.result for step in self.steps)
        sent, written = generate.get("sent", 0), capture.get("written", 0)
        hops = [
            Hop(
                step=step.name,
                command=["uspnet", *step.arguments],
                packets=step.result.get(name, 0),
                pps=step.rate(name),
            )
            for step, name in zip(reversed(self.steps), COUNTED, strict=True)
        ]
        rows = [row for part in (generate, forward, capture) for row in part.get("ports", [])]
        return DemoResult(
            command="demo",
            elapsed_s=generate.get("elapsed_s", 0.0),
            ports=tuple(PortCounters(**row) for row in rows),
            complete=self.kept,
            offered=generate.get("offered", 0),
            sent=sent,
            written=written,
            lost=max(generate.get("offered", 0) - written, 0),
            pps=generate.get("pps", 0.0),
            hops=tuple(hops),
            nic=self._nic_result(),
            files=[str(self.file)] if self.kept else [],
        )

    def _nic_result(self) -> NicHop:
        """What became of the packets between the emulated NICs."""
        error, result = self.without_nic, self.nic.result
        names = ("offered", "sent", "received", "lost", "pps")
        sender, receiver = result.get("ports", [{}, {}])
        return NicHop(
            command=["uspnet", *self.nic.arguments],
            missing=error.message if error else "",
            hint=error.hint if error else "",
            tx_bytes=sender.get("tx_bytes"),
            rx_bytes=receiver.get("rx_bytes"),
            **{name: result.get(name) for name in names},
        )
