# SPDX-License-Identifier: Apache-2.0
"""demo: pktgen → memif → fwd → memif → capture, as three processes of uspnet, end to end; then
pktgen → emulated NIC → cable → another one → counted, where QEMU has two.

Only files in a temporary folder are written, and no privilege is needed. The folder is removed at
the end, however the demo ends; a capture file that the user named is kept.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from uspnet.errors import DeviceTimeout, NoDevice, NotSupported, Refused, UspnetError
from uspnet.jobs.demo.janitor import Janitor, temporary_folder
from uspnet.jobs.demo.result import DemoResult, Hop, NicHop
from uspnet.jobs.demo.step import PATIENCE_S, RUN_S, START_S, Step
from uspnet.jobs.result import PortResult
from uspnet.spec import escaped
from uspnet.transports.qemu.machine import binary

TICK_S = 0.02
FRAME_BYTES = 60
FILE = "demo.pcapng"
NIC_PACKETS = 50_000  # half a second's worth
PAIRS = (("igb", "e1000e"), ("e1000e", "e1000"))  # emulated NICs; older QEMUs lack the first
COUNTED = ("sent", "forwarded", "written")  # by pktgen, fwd and capture


class Interrupted(Exception):
    """Raised when a signal asked the demo to end; this is not an error."""


class Demo:
    """Run `count` packets through the chain. Leaving this context manager ends all processes.

    `write` is the capture file to keep; None: a temporary one, removed at the end.
    """

    def __init__(self, count: int, write: str | None) -> None:
        self.count = count
        self.on_notice: Callable[[str], None] = lambda _text: None
        self.undo = contextlib.ExitStack()
        self.complete = self.stopped = False
        self.folder = temporary_folder() / f"uspnet-demo-{secrets.token_hex(8)}"
        self.kept = Path(write).absolute() if write else None
        self.file = self.kept or self.folder / FILE
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
        """End the run; may be called from a signal handler."""
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
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self) -> DemoResult:
        """Run the chain and return its counts. Raise what its steps raise."""
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
            self.complete = True
        return self.result()

    def _run_nic(self) -> None:
        """Send from one emulated NIC to another. Without QEMU, or with one that lacks both pairs,
        set `without_nic`; this is not an error.
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
            left = f"{self.kept} is incomplete" if self.kept else "nothing is left behind"
            self.on_notice(f"interrupted: {left}")

    def _until(self, done: Callable[[], bool], seconds: float, *alive: Step) -> None:
        """Wait until `done()`. Raise the error of a step in `alive` that fails in the meantime."""
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
        """Return the counts of the chain."""
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
            ports=tuple(PortResult(**row) for row in rows),
            complete=self.complete,
            offered=generate.get("offered", 0),
            sent=sent,
            written=written,
            lost=max(generate.get("offered", 0) - written, 0),
            pps=generate.get("pps", 0.0),
            hops=tuple(hops),
            nic=self._nic_result(),
            files=[str(self.kept)] if self.kept and self.complete else [],
        )

    def _nic_result(self) -> NicHop:
        """Return the counts of the emulated NICs, or why there were none."""
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
