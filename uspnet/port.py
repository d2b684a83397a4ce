# SPDX-License-Identifier: Apache-2.0
"""Ports: their base class, and queues as Python sees them.

A port's life: `open` (claim paths, privileges, devices) → `attach` (the job's pool) → `rx_queue`
and `tx_queue` → `start` → … `control` … → `stop` → `close`, undone in reverse on every exit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from uspnet.errors import DeviceFault, Malformed, NotSupported, PeerFault, UspnetError
from uspnet.fastpath import c, ffi, lib
from uspnet.pool import BUFFER_STEP, FRAME_MAX, Pool
from uspnet.spec import Option, Options, Spec, check_options
from uspnet.system.privileges import NONE, Capabilities

if TYPE_CHECKING:  # the names that a Queue's own `c` hides
    from uspnet.fastpath._fastpath import AnyQueue, Counters
    from uspnet.fastpath._fastpath import Queue as CQueue

Direction = Literal["rx", "tx"]
SCHEMES: dict[str, type[Port]] = {}
COUNTER = 1 << 64  # where a counter begins again at 0
PEER_AGAIN = "start the peer again, and then this"
ETHERNET_FRAME = 1522  # bytes: 1,500 of payload, the header, and two VLAN tags


@dataclass(eq=False)
class Queue:
    """One ring of a port. `c` is its C struct, whose first member is `struct queue`."""

    port: Port
    direction: Direction
    index: int
    c: AnyQueue
    counters: Counters = field(default=ffi.NULL)  # wherever `c` may point to later

    @property
    def base(self) -> CQueue:
        """Return the C struct as `struct queue *`."""
        return ffi.cast("struct queue *", self.c)

    def take_back(self, packets: int, octets: int, reason: int) -> None:
        """Count packets as dropped that were counted as sent: the other side never took them."""
        counters = self.counters
        packets = min(packets, counters.packets)  # a worker process that died left some uncounted
        counters.packets -= packets
        counters.bytes -= min(octets, counters.bytes)
        self.drop(packets, reason)

    def drop(self, packets: int, reason: int) -> None:
        """Count packets as dropped, for a reason before DROP_ERRORS."""
        counters = self.counters
        # A worker process that somebody controls can have written any number there.
        counters.drops[reason] = (counters.drops[reason] + packets) % COUNTER
        counters.dropped = (counters.dropped + packets) % COUNTER

    def mean(self, packets: int) -> int:
        """Return how many of the bytes counted so many packets had, on average."""
        return int(self.counters.bytes * packets // max(self.counters.packets, 1))

    def fault(self) -> UspnetError | None:
        """Return the fault that the ring has set, as an error to raise; None without one."""
        name = self.port.name
        match self.base.fault:
            case lib.FAULT_NONE:
                return None
            case lib.FAULT_PEER:
                return PeerFault(f"{name}: the peer's ring index is out of range", PEER_AGAIN)
            case lib.FAULT_MEMORY:
                return PeerFault(f"{name}: the shared memory was truncated", PEER_AGAIN)
            case lib.FAULT_MALFORMED:
                return Malformed(f"{name}: malformed record", "see: capinfos FILE")
            case lib.FAULT_IO:
                return self.port.io_error(OSError(self.base.sys_errno, "").errno or 0)
            case lib.FAULT_RING:
                text = f"{name}: the device completed a buffer that it did not own"
                return DeviceFault(text, f"run it once more, or see: uspnet doctor {name}")
            case _:
                return DeviceFault(f"{name}: the device is gone", f"see: uspnet doctor {name}")


class Port(ABC):
    """Base class of all ports; a subclass names its scheme: `class Memif(Port, scheme="memif")`."""

    options: Options = Options()  # the class has the defaults, an object what its spec gives
    scheme: ClassVar[str] = ""
    help: ClassVar[str] = ""  # one line: what the port talks to
    about: ClassVar[str] = ""  # what its man page says besides: paragraphs
    unknown: ClassVar[frozenset[str]] = frozenset({"rx_missed_errors"})  # counters it can't know
    # System calls of its rings, besides `sandbox.calls.BASE`: any other ends a worker process.
    calls: frozenset[str] = frozenset()
    buffer_step = BUFFER_STEP  # bytes: the job's buffers have a multiple of it
    reconnect = True  # when the other side leaves, wait for it to come back
    connects = False  # has an other side that must be there before a job makes sense
    takes = FRAME_MAX  # bytes of the longest frame that may be sent to it, in the best case
    knows_origins = False  # receive fills the `origins` beside its handles
    endless = False  # makes packets, as fast as they are taken
    fills_disk = False  # keeps all that it is sent in a file
    runs_out = False  # its packets come to an end
    takes_stdout = False  # packets go there, so summaries must not
    how = ""  # the way to the device that an opened port took, and why
    danger = ""  # what the user took on with it
    stamps = ""  # what its packets' times are, where it gives them one
    patience_s = 0.0  # seconds for which a call of its rings may block a worker, at most
    reports_sent = False  # `pending` becomes 0 once the other side has taken everything
    mac: bytes | None = None  # of the job's end of its wire, once it is open; None: it has none
    can_receive = True
    can_send = True
    kept_as = ""  # names it in `held`, as no other port of the job that has it; "": none has it
    is_beside_others = False  # which write packets into the job's memory, as loops do. A job's.
    stays = False  # `close` leaves what `held` has named: its process goes on as another version

    def __init_subclass__(cls, scheme: str = "", **more: object) -> None:
        super().__init_subclass__(**more)
        if not scheme:
            return
        if scheme in SCHEMES:
            raise TypeError(
                f"two ports {scheme}: {SCHEMES[scheme].__module__} and {cls.__module__}"
            )
        check_options(cls.options)
        cls.scheme = scheme
        SCHEMES[scheme] = cls

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.name = str(spec)
        self.given = spec.read(self.known_options())
        self.options = self.options.changed(self.given)
        self.queues = 1  # pairs
        self.frame = ETHERNET_FRAME  # bytes of the longest frame, without FCS
        self.made: list[Queue] = []
        # Inside this context no worker touches any queue. A running job sets it.
        self.quiesce: Callable[[], AbstractContextManager[None]] = nullcontext
        # Ends the job gracefully: a port's other side wants no more. A running job sets it.
        self.end_job: Callable[[], None] = lambda: None
        # Whether a signal ended the run, so that its end should be quick. A running job sets it.
        self.is_interrupted: Callable[[], bool] = lambda: False
        # Called with the seconds so far while `finish` waits. A running job sets it.
        self.on_wait: Callable[[float], None] = lambda _seconds: None
        # Shows the user a message that is no error. A running job sets it.
        self.notice: Callable[[str], None] = lambda _text: None

    @classmethod
    def of(cls, spec: Spec) -> Self:
        """Return the port that a spec of this scheme names, not yet opened. Raises Usage."""
        return cls(spec)

    @classmethod
    def make(cls, target: str | PathLike[str] = "", **options: object) -> Self:
        """Return a port made of Python values, as `Pcap.make(out=path, format="pcap")`: the same as
        by a spec, with `_` for `-` in names. Raises Usage.
        """
        return cls.of(Spec.of(cls.scheme, target, options))

    @property
    def kind(self) -> str:
        """Return the name of the driver, as counters show it."""
        return self.scheme

    @property
    def tx_queues(self) -> int:
        """Return how many queues of an open port can send: the first ones."""
        return self.queues

    def known_options(self) -> Mapping[str, Option]:
        """Return the options that this port takes; `spec` is already set."""
        return self.options.known()

    @property
    def keeps(self) -> Capabilities:
        """Return the capabilities that are needed after the queues are made, to run and to clean
        up. The rest is dropped before `start`.
        """
        return NONE

    @classmethod
    def targets(cls) -> list[str]:
        """Return targets that exist now, for completion; paths are left out."""
        return []

    # -- what a port implements -----------------------------------------------------------------

    def open(self) -> None:
        """Claim the device, path or privilege, and set `queues` and `frame`."""

    def longest_frame(self, takes: int) -> int:
        """Return the bytes of the longest frame it handles, where all other ports take up to
        `takes` bytes.
        """
        return self.frame

    def fed_by(self, source: Port) -> None:
        """Note that everything sent here comes from that port. Called before `open`."""

    def send_limit(self, tags: list[int]) -> tuple[int, str]:
        """Return the bytes of the longest frame that an open port can send, if it begins with VLAN
        tags of these EtherTypes, and a hint how to raise that; any frame, unless overridden.
        """
        return FRAME_MAX, ""

    def dma_bytes(self) -> int:
        """Return the bytes of the pool's memory that the port needs for rings."""
        return 0

    def attach(self, pool: Pool) -> None:
        """Register the job's packet memory."""
        self.pool = pool

    @abstractmethod
    def make_queue(self, direction: Direction, index: int) -> c.AnyQueue:
        """Make the C struct of one queue and set its own fields. `queue` sets those of `struct
        queue`.
        """

    def descriptors(self) -> list[int]:
        """Return the descriptors that its rings use, as far as they are open now. No others reach
        the worker process, whatever its memory says.
        """
        return []

    def held(self) -> dict[str, int]:
        """Return, by names that no other port has, the descriptors on which another version goes on
        that this process executes: `open` takes each by `kept.take`. Without any, it opens anew,
        and without privileges. Raises NotSupported when the port can't go on.
        """
        if self.runs_out or self.fills_disk or self.takes_stdout:
            text = f"{self.name}: can't go on in the middle of a file"
            raise NotSupported(text, "wait until the job has ended, and start the new version")
        return {}

    def holds(self, direction: Direction) -> int:
        """Return the most pool buffers that one such queue holds."""
        return 0

    def start(self) -> None:
        """Start RX and TX. All queues exist; may be called again after `stop`."""

    def control_fds(self) -> list[int]:
        """Return the descriptors that call for `control` when readable."""
        return []

    def control(self) -> None:
        """Handle what waits on the control descriptors, and faults. Called in the main thread, also
        periodically. Raises when the port can't continue.
        """
        if error := self.fault():
            raise error

    def up(self) -> bool:
        """Return whether packets can pass."""
        return True

    def link_bps(self) -> int | None:
        """Return the speed of the link in bits a second; None where that is not known."""
        return None

    def why_down(self) -> str:
        """Return what the port waits for, as text for people."""
        return "link is down"

    def refusal(self) -> UspnetError | None:
        """Return why the other side has refused us so far; None: it has not."""
        return None

    def pending(self) -> int:
        """Return the packets in tx queues that the other side has not taken yet."""
        return 0

    def in_transit(self) -> bool:
        """Return whether packets that left the tx queues are known to be on their way still.
        Workers may run.
        """
        return False

    def finish(self) -> None:
        """Complete outstanding work after the workers have ended; then all counters are final.
        Raises when that fails, or when a source ended too early. Not called after errors.
        """

    def stop(self) -> None:
        """Stop RX and TX; queues are no longer used."""

    def quiet(self) -> None:
        """Make the device access no memory from now on, as when a worker was killed. Any thread may
        call it at any time; never raises.
        """

    def revive(self) -> list[int]:
        """Make every queue whole again after the process of its workers has ended at any
        instruction, so that a fresh one can go on. No worker runs. Return the indexes of the pool
        buffers that the rings still hold, which the peer or the kernel may access; all others are
        free afterwards, whoever had them. The workers' stacks are empty and not to be relied on:
        what is given back to them is forgotten.

        At most a burst a queue is lost or seen twice, and what may be lost is counted as
        DROP_WORKER_LOST. A ring that can't be made whole gets a fault, which `control` handles, and
        holds nothing. What has to be started again is stopped here, and started by `restart`.
        Raises when the port can't go on.
        """
        if self.holds("rx") or self.holds("tx"):
            text = f"{self.name}: can't go on after the end of its worker process"
            raise NotSupported(text, "start the job again")
        return []

    def restart(self) -> None:
        """Start what `revive` has stopped. The workers' stacks have all other buffers."""

    def close(self) -> None:
        """Release everything. Also called after a failed `open`."""

    def check(self) -> None:
        """Raise what would prevent a job from using the port now; leave nothing changed."""
        with closing(self):
            self.open()

    def io_error(self, number: int) -> UspnetError:
        """Return the error for a failed system call of one of its rings."""
        import os  # noqa: PLC0415 - rare

        return DeviceFault(f"{self.name}: {os.strerror(number)}")

    def extra_counters(self) -> dict[str, int | None]:
        """Return counters of the device or kernel, to be added to the queues' own.
        `rx_missed_errors` is the total; the queues' own may lag behind it.
        """
        return {}

    # -- shared by all --------------------------------------------------------------------------

    def queue(
        self, direction: Direction, index: int, stack: c.Stack, counters: c.Counters
    ) -> Queue:
        """Make one queue, owned by the worker whose stack and counters are given."""
        queue = Queue(self, direction, index, self.make_queue(direction, index), counters)
        base = queue.base
        base.pool, base.stack, base.counters = self.pool.c, stack, counters
        self.made.append(queue)
        return queue

    def fault(self) -> UspnetError | None:
        """Return the first fault among its queues."""
        return next((error for queue in self.made if (error := queue.fault())), None)
