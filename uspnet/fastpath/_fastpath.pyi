# SPDX-License-Identifier: Apache-2.0
"""The C fast path's types, made by tools/stubs.py: change the C headers, then run make man."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, Self, SupportsIndex, TypedDict, TypeVar, overload

from _typeshed import ReadableBuffer

T = TypeVar(
        "T")
G = TypeVar("G")
S = TypeVar("S")
D = TypeVar("D", bound=CData)
Octets = bytes  # structs have fields named bytes

class CData:
    """A pointer, a struct or an array of C."""

    def __bool__(self) -> bool: ...
    def __len__(self) -> int: ...
    def __int__(self) -> int: ...

class Struct(CData):
    """A struct, a pointer to one, or an array of them."""

    def __getitem__(self, index: SupportsIndex | slice) -> Self: ...
    def __setitem__(self, index: SupportsIndex, value: Self | Mapping[str, Any]) -> None: ...
    def __iter__(self) -> Iterator[Self]: ...
    def __add__(self, elements: int) -> Self: ...

class Pointer(CData, Generic[T]):
    """A pointer to numbers or pointers, or an array of them."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    @overload
    def __setitem__(self, index: SupportsIndex, value: T) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[T] | bytes) -> None: ...
    def __iter__(self) -> Iterator[T]: ...
    def __add__(self, elements: int) -> Self: ...
    @overload
    def __sub__(self, elements: int) -> Self: ...
    @overload
    def __sub__(self, other: Pointer[T]) -> int: ...

class Inline(Generic[G, S]):
    """A struct or an array inside a struct: read as a view, set from a copy, a dict or a list."""

    def __get__(self, owner: object, kind: type) -> G: ...
    def __set__(self, owner: object, value: S
    ) -> None: ...

class AnyQueue(Struct):
    q: Inline[Queue, Queue | QueueFields]

class AnyWorker(Struct):
    w: Inline[Worker, Worker | WorkerFields]

class Answer(Struct):
    nets: AnswerNet
    n_nets: int
    held: int
    exit: Exit
    arp: int
    ndp: int
    unsent: int
    sent: int
    bytes: int
    drops: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    packets: Inline[Packet, Sequence[Packet | PacketFields] | Packet]

class AnswerNet(Struct):
    words: int
    mask: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    mac: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    silent: int

class BalanceLoop(Struct):
    w: Inline[WaysLoop, WaysLoop | WaysLoopFields]
    rerouted: int
    order: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]

class Bottleneck(Struct):
    queue: Queued
    n_places: int
    first: int
    used: int
    most: int
    longest: int
    bytes: int
    longest_wait: int
    codel: Inline[Codel, Codel | CodelFields]
    byte_ticks: int
    bucket: int
    full_at: int
    free_at: int
    trace: Pointer[int]
    n_trace: int
    next: int
    base: int
    at: int
    left: int
    unsent: int
    sending: Inline[Queued, Queued | QueuedFields]

class Burst(Struct):
    packets: Inline[Packet, Sequence[Packet | PacketFields] | Packet]
    stamps: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    origins: Inline[Origin, Sequence[Origin | OriginFields] | Origin]

class CaptureLoop(Struct):
    f: Inline[ForwardLoop, ForwardLoop | ForwardLoopFields]
    only: Filter
    each: LaneFilter
    n_each: int
    dedup: Dedup
    first: First

class Child(Struct):
    user: int
    parent: int
    file_bytes: int
    keep: int

class Codel(Struct):
    target: int
    interval: int
    first_above_time: int
    drop_next: int
    count: int
    lastcount: int
    dropping: int
    again: int

class Counters(Struct):
    packets: int
    bytes: int
    errors: int
    dropped: int
    missed: int
    stalled: int
    doorbells: int
    sleeps: int
    drops: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    copied: int
    interruptions: int
    interrupted_ns: int
    statistics: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    reserved: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class Dedup(Struct):
    seen: SeenPacket
    n_seen: int
    ignored: int
    window: int
    secret: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    forgotten: int
    packets: int
    bytes: int

class Delayed(Struct):
    due: int
    serial: int
    stamp: int
    packet: Inline[Packet, Packet | PacketFields]

class DelayedQueue(Struct):
    waiting: Delayed
    n_waiting: int
    first: int
    used: int
    most: int
    serial: int

class DivertLoop(Struct):
    w: Inline[WaysLoop, WaysLoop | WaysLoopFields]
    only: Filter
    to: int
    tee: int
    packets: int
    bytes: int

class Doorbell(Struct):
    mmio: CData
    link: QtestLink
    address: int
    bytes: int
    wire_fd: int

class DropLoop(AnyWorker):
    w: Inline[Worker, Worker | WorkerFields]

class Exit(Struct):
    tx: Queue
    held: int
    tried: int
    burst: Inline[Burst, Burst | BurstFields]

class Field(Struct):
    apply: Callable[[Field, Pool, Packet, int], None]
    next: Field

class FileIdentity(Struct):
    is_device: int
    device: int
    inode: int
    major: int
    minor: int

class Filter(Struct):
    n: int
    way: int
    code: Pointer[int]
    steps: Inline[FilterStep, Sequence[FilterStep | FilterStepFields] | FilterStep]

class FilterStep(Struct):
    code: int
    if_true: int
    if_false: int
    value: int

class First(Struct):
    flows: FirstFlow
    n_flows: int
    by_bytes: int
    limit: int
    idle: int
    seed: int
    begun: int
    cut: int
    forgotten: int
    packets: int
    bytes: int

class FirstFlow(Struct):
    ends: Inline[FlowEnds, FlowEnds | FlowEndsFields]
    taken: int
    last: int
    used: int
    cut: int
    ended: int

class FlowEnds(Struct):
    addresses: Inline[
        Pointer[Pointer[int]], Sequence[Sequence[int] | Pointer[int] | Octets] | Pointer[Pointer[int]]
    ]
    ports: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    ether_type: int
    protocol: int
    version: int

class FlowOrder(Struct):
    flows: OrderedFlow
    counts: FlowOrderCounts
    seed: int
    n_flows: int

class FlowOrderCounts(Struct):
    flows: int
    flows_reordered: int
    reordered: int
    unknown: int

class ForwardLoop(AnyWorker):
    w: Inline[Worker, Worker | WorkerFields]
    full: int
    mirrors: int
    trace: Trace
    fields: Field

class FrameTemplate(Struct):
    frame: Pointer[int]
    length: int
    check: int
    check_at: int
    base: int
    zero: int
    turned: int
    crc: Pointer[int]

class GenerateLoop(AnyWorker):
    w: Inline[Worker, Worker | WorkerFields]
    templates: FrameTemplate
    n_templates: int
    n_order: int
    order: Pointer[int]
    stamp_at: int
    turn: Pointer[int]
    secret: int
    pace: Pace
    seconds: float
    offered: int
    streams: Stream
    logs: SentLog
    first_stream: int
    fields: Field
    inline_receiver: MeasureLoop
    copies: int
    head: int
    filler: FrameTemplate
    holds: Pointer[int]
    dry: int

class Hand(Struct):
    worker: Worker
    loop: Callable[[Worker], None]
    post: Post
    turn: int
    core: int
    id: int
    failed: int

class Hop(Struct):
    macs: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    port: int
    act: int

class ImpairLoop(Struct):
    f: Inline[ForwardLoop, ForwardLoop | ForwardLoopFields]
    lines: Line
    n_lines: int
    sorted: int
    gap: int
    loss: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    change: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    duplicate: int
    corrupt: int
    reorder: int
    delay: int
    jitter: int
    byte_ticks: int
    narrow: int
    tick_ns: float

class IntelDescriptor(Struct):
    address: int
    word: int

class IntelQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    ring: IntelDescriptor
    buffers: Pointer[int]
    last: Pointer[int]
    size: int
    next: int
    clean: int
    tail: int
    limit: int
    rx_error_mask: int
    skipping: int
    part: Inline[Partial, Partial | PartialFields]
    tx_flags: int
    dma_base: int
    bell: Inline[Doorbell, Doorbell | DoorbellFields]
    vector: Inline[Vector, Vector | VectorFields]

class Lane(Struct):
    rx: Queue
    exits: Exit
    n_exits: int
    received: Inline[Burst, Burst | BurstFields]

class LaneFilter(Struct):
    only: Filter

class Line(Struct):
    q: Inline[DelayedQueue, DelayedQueue | DelayedQueueFields]
    since: int
    seed: int
    draws: int
    sent_until: int
    delayed: int
    duplicated: int
    corrupted: int
    reordered: int
    bad_state: int
    state: int
    b: Inline[Bottleneck, Bottleneck | BottleneckFields]

class Lookup(Struct):
    templates: FrameTemplate
    slots: Pointer[int]
    mask: int
    received: int

class Loss(Struct):
    first: int
    packets: int
    before: int
    after: int
    stream: int
    ended: int

class Losses(Struct):
    streams: StreamLosses
    n_streams: int
    made: int
    rows: Loss
    longest: Inline[Loss, Sequence[Loss | LossFields] | Loss]
    which: int
    secret: int
    epoch: int
    ends: int

class Lpm(Struct):
    direct: Pointer[int]
    nodes: LpmNode
    values: Pointer[int]
    n_direct: int
    n_nodes: int
    n_values: int
    bits: int

class LpmNode(Struct):
    inner: int
    starts: int
    nodes: int
    values: int

class LpmPrefixes(Struct):
    high: Pointer[int]
    low: Pointer[int]
    lengths: Pointer[int]
    found: Pointer[int]
    n: int

class MacEntry(Struct):
    key: int
    seen: int
    port: int

class MeasureLoop(AnyWorker):
    w: Inline[Worker, Worker | WorkerFields]
    streams: Stream
    n_streams: int
    stamp_at: int
    n_offsets: int
    offsets: Pointer[int]
    unsigned_packets: int
    secret: int
    began: int
    lookup: Lookup
    answer: Answer
    losses: Losses
    order: FlowOrder
    writes: int

class MemifDescriptor(Struct):
    flags: int
    region: int
    length: int
    offset: int
    metadata: int

class MemifQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    ring: MemifRing
    ours: Pointer[int]
    theirs: Pointer[int]
    size: int
    our_lead: int
    their_lead: int
    next: int
    clean: int
    bell_fd: int
    ringing: int
    counted: int
    taken: Inline[Taken, Taken | TakenFields]
    n_regions: int
    regions: MemifRegion
    buffers: Pointer[int]
    buffer_size: int
    pool_region: int
    out: Pointer[int]

class MemifRegion(Struct):
    base: Pointer[int]
    size: int

class MemifRing(Struct):
    cookie: int
    flags: int
    head: int
    line0: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    tail: int
    line1: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    slots: Inline[
        MemifDescriptor, Sequence[MemifDescriptor | MemifDescriptorFields] | MemifDescriptor
    ]

class MergeSide(Struct):
    held: int
    first: int
    time: int
    timed: int
    counted: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class Missed(Struct):
    high: int
    low: int
    is_ipv6: int

class NullQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    length: int

class Order(Struct):
    kind: int
    number: int
    fd: int
    flags: int
    start: Pointer[int]
    size: int
    offset: int
    fault: Pointer[int]

class OrderedFlow(Struct):
    ends: Inline[FlowEnds, FlowEnds | FlowEndsFields]
    next: int
    reordered: int
    stream: int

class Origin(Struct):
    length: int
    kept: int
    time: int
    options: Pointer[int]
    option_bytes: int
    interface: int
    swapped: int
    losses: int

class Pace(Struct):
    steps: PaceStep
    n_steps: int
    size: int
    number: int
    n_workers: int
    poisson: int
    at: int
    step: int
    seed: int
    total: int
    seconds: float
    ticks_hz: int
    made: int
    last: float
    due: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    late: Pointer[int]
    stalls: int
    stalled: int
    longest: int
    stall: int
    looked: int
    wall: int
    cpu: int
    passed_ns: int
    worked_ns: int

class PaceStep(Struct):
    begins: float
    rate: float
    before: int
    carry: float

class Packet(Struct):
    index: int
    offset: int
    length: int

class PacketQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    ring: Pointer[int]
    block_size: int
    blocks: int
    block: int
    left: int
    at: int
    counted: int
    giving: int
    poll_at: int
    poll_ns: int
    fd: int
    ifindex: int
    macs: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    segments: Inline[Segments, Segments | SegmentsFields]
    stamp: int
    tag: int
    stuck_at: int

class Partial(Struct):
    frame: Inline[Packet, Packet | PacketFields]
    open: int
    wrong: int

class PcapArrival(Struct):
    ns: int
    number: int
    bytes: int
    unused: int

class PcapBegun(Struct):
    at: int
    published: int
    n_interfaces: int
    sections: int
    swapped: int

class PcapBlock(Struct):
    at: Pointer[int]
    bytes: int
    type: int
    swapped: int

class PcapBursts(Struct):
    ring: PcapArrival
    slots: int
    most_slots: int
    head: int
    now_ns: int
    windows: Inline[PcapWindow, Sequence[PcapWindow | PcapWindowFields] | PcapWindow]
    gap_ns: int
    run: Inline[PcapRun, PcapRun | PcapRunFields]
    longest: Inline[PcapRun, PcapRun | PcapRunFields]
    link_bps: int
    wait_ps: int
    longest_wait_ps: int
    queue_at_ns: int
    queue_number: int

class PcapChunk(Struct):
    bytes: int
    pad: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    records: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]

class PcapColumns(Struct):
    n: int
    timed: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    typed: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    tagged: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    is_ip: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    has_ports: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    has_flags: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    ns: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    number: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    offset: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    interface: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    length: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    captured: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    ether_type: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    vlan: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    source_port: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    destination_port: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    version: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    protocol: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    tcp_flags: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    source: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    destination: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]

class PcapFlow(Struct):
    ends: Inline[FlowEnds, FlowEnds | FlowEndsFields]
    begun_by: int
    packets: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    bytes: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    first_ns: int
    last_ns: int

class PcapFlows(Struct):
    at: PcapFlow
    slots: int
    most_slots: int
    used: int
    seed: int
    beyond: int

class PcapHeld(Struct):
    ring: PcapRing
    most: int
    passed: int
    lost_ns: int
    settled: int

class PcapHold(Struct):
    shared: PcapShared
    on: Filter
    before_ns: int
    after_ns: int
    from_ns: int
    until_ns: int
    newest_ns: int
    seen: int
    apart: int
    triggered: int
    waits: int
    n: int
    rings: Inline[PcapHeld, Sequence[PcapHeld | PcapHeldFields] | PcapHeld]

class PcapInterface(Struct):
    times: int
    divisor: int
    offset: int
    shift: int
    plain: int
    link_type: int
    snaplen: int
    fcs: int

class PcapLook(Struct):
    source: PcapSource
    halt: int
    filtered: int
    left: int
    blocks: int
    link_type: int
    block: Inline[PcapBlock, PcapBlock | PcapBlockFields]
    interfaces: int
    section: int
    n_links: int
    links: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    filters: Inline[Pointer[Filter], Sequence[Filter] | Pointer[Filter]]
    tally: PcapTally
    flows: PcapFlows
    bursts: PcapBursts
    slices: PcapSlice
    n_slices: int
    columns: PcapColumns

class PcapMove(Struct):
    bytes: int
    passed: int

class PcapPositions(Struct):
    published: int
    pad0: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    written: int
    beyond: int
    beyond_bytes: int
    scanned: int
    untriggered: int
    untriggered_bytes: int
    pad1: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class PcapRing(Struct):
    positions: PcapPositions
    chunks: PcapChunk
    n_chunks: int
    format: int
    staged: int
    patient: int
    taken: int

class PcapRun(Struct):
    packets: int
    bytes: int
    from_ns: int
    to_ns: int
    first: int

class PcapSeen(Struct):
    data: Pointer[int]
    length: int
    wire: int
    ns: int
    number: int
    interface: int
    link_type: int

class PcapShared(Struct):
    asleep: int
    error: int
    tail: int
    passed: int
    asked_ns: int
    triggered_ns: int
    held_ns: int
    cached: int
    unused: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    taken: int
    tail_bytes: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    positions: Inline[PcapPositions, Sequence[PcapPositions | PcapPositionsFields] | PcapPositions]

class PcapSink(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    shared: PcapShared
    ring: Inline[PcapRing, PcapRing | PcapRingFields]
    snaplen: int
    interface: int
    fill: int
    number: int
    bell_fd: int
    announced: int
    misfits: int
    left_out: int
    sliced: int
    sliced_bytes: int
    header: Pointer[int]
    application: Pointer[int]
    header_bytes: int
    application_bytes: int
    begun: int

class PcapSlice(Struct):
    first: int
    last: int
    bytes: int
    flows: Inline[PcapFlows, PcapFlows | PcapFlowsFields]

class PcapSource(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    base: Pointer[int]
    size: int
    at: int
    begin: int
    number: int
    behind: int
    passed: int
    need: int
    format: int
    swapped: int
    lengths: int
    loop: int
    why: int
    live: int
    mapped: int
    stream_fd: int
    longest: int
    usable: int
    link_type: int
    foreign: int
    when_truncated: int
    truncated: int
    padding: int
    padded: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    make_ethernet: int
    source_given: int
    macs: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    timeless: int
    timeless_first: int
    clock: Inline[Timing, Timing | TimingFields]
    due: int
    now: int
    timer_fd: int
    timing: int
    passed_over: int
    sink: PcapSink
    holding: int
    carried: int
    sections: int
    single: int
    begun: Inline[PcapBegun, PcapBegun | PcapBegunFields]
    move: Inline[PcapMove, PcapMove | PcapMoveFields]
    reading: int
    canary: int
    n_interfaces: int
    interfaces: Inline[PcapInterface, Sequence[PcapInterface | PcapInterfaceFields] | PcapInterface]

class PcapTally(Struct):
    packets: int
    bytes: int
    captured: int
    cut: int
    timeless: int
    disordered: int
    first_ns: int
    last_ns: int
    before_ns: int
    shortest: int
    longest: int
    sizes: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    bin_ns: int
    bins_from_ns: int
    bin_packets: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    bin_bytes: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    of_interface: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    cut_of_interface: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class PcapWindow(Struct):
    ns: int
    tail: int
    packets: int
    bytes: int
    most_packets: int
    most_bytes: int
    at_ns: int
    first: int
    last: int
    lost: int
    unused: int

class Pool(Struct):
    base: Pointer[int]
    size: int
    count: int

class Post(Struct):
    answered: int
    error: int
    refused: int
    ready: int
    serving: int

class ProfileLoop(AnyWorker):
    w: Inline[Worker, Worker | WorkerFields]
    streams: ProfileStream
    n_streams: int
    seconds: float
    dry: int
    inline_receiver: MeasureLoop

class ProfileStream(Struct):
    g: GenerateLoop
    begins: float
    ends: float
    sent: int

class ProgramAlias(Struct):
    threshold: int
    other: int

class ProgramCheck(Struct):
    at: int
    rest: int
    zero: int

class ProgramField(Struct):
    f: Inline[Field, Field | FieldFields]
    next: int
    first: int
    stride: int
    indexes: ProgramIndex
    steps: ProgramStep
    checks: ProgramCheck
    n_indexes: int
    n_steps: int
    n_checks: int
    only_at: int
    only: int
    only_mask: int

class ProgramIndex(Struct):
    kind: int
    shared: int
    count: int
    every: int
    seed: int
    alias: ProgramAlias

class ProgramStep(Struct):
    values: Pointer[int]
    low: int
    step: int
    mask: int
    at: int
    bytes: int
    factors: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class QtestLink(Struct):
    lock: int
    fd: int
    gone: int
    pending: int
    filled: int
    line: Inline[Pointer[Octets], Sequence[Octets] | Pointer[Octets] | Octets]

class Queue(Struct):
    burst: Callable[[Queue, Packet, int], int]
    arm: Callable[[Queue, int], int]
    flush: Callable[[Queue], int]
    pool: Pool
    stack: Stack
    counters: Counters
    stamps: Pointer[int]
    origins: Origin
    wake_fd: int
    lossless: int
    patient: int
    closed: int
    fault: int
    ended: int
    sys_errno: int
    watch: Watch

class Queued(Struct):
    came: int
    delay: int
    stamp: int
    packet: Inline[Packet, Packet | PacketFields]

class ReflectLoop(Struct):
    f: Inline[ForwardLoop, ForwardLoop | ForwardLoopFields]
    swap: int
    groups: int

class ReplayLoop(Struct):
    f: Inline[ForwardLoop, ForwardLoop | ForwardLoopFields]
    begun: int
    all: int
    empty: int
    a_packet: int
    a_byte: int
    least: int
    rate: float
    spent: int
    taken: int
    fields: Field
    breaks: Field
    only: Filter
    first: Filter
    sides: MergeSide
    clock: Inline[Timing, Timing | TimingFields]
    next: int
    turning: int
    waiting: int
    receivers: Inline[Pointer[MeasureLoop], Sequence[MeasureLoop] | Pointer[MeasureLoop]]
    n_receivers: int

class RewriteField(Struct):
    f: Inline[Field, Field | FieldFields]
    nets: RewriteNet
    ports: RewritePort
    sets: RewriteSet
    n_nets: int
    n_ports: int
    n_sets: int
    deep: int
    tag: int
    vlan: int
    seen: int
    tagged: int
    wrongs: RewriteWrong
    n_wrongs: int
    every: int
    runt: int
    runts: int

class RewriteNet(Struct):
    words: int
    mask: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    to: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    keep: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class RewritePort(Struct):
    to: int

class RewriteSet(Struct):
    layer: int
    cover: int
    at: int
    words: int
    to: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    keep: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    packets: int

class RewriteWrong(Struct):
    layer: int
    how: int
    at: int
    value: int
    mask: int
    check: int
    times: int
    packets: int

class RouteLoop(Struct):
    w: Inline[WaysLoop, WaysLoop | WaysLoopFields]
    ipv4: Inline[Lpm, Lpm | LpmFields]
    ipv6: Inline[Lpm, Lpm | LpmFields]
    hops: Hop
    n_hops: int
    macs: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    missed: Inline[Missed, Sequence[Missed | MissedFields] | Missed]
    misses: int

class Rule(Struct):
    only: Filter
    act: int
    port: int
    packets: int
    bytes: int

class RulesLoop(Struct):
    w: Inline[WaysLoop, WaysLoop | WaysLoopFields]
    rules: Rule
    n_rules: int

class SandboxStep(Struct):
    code: int
    if_true: int
    if_false: int
    value: int

class SeenPacket(Struct):
    mark: int
    last: int

class Segments(Struct):
    frame: Pointer[int]
    left: int
    at: int
    size: int
    headers: int
    network: int
    transport: int
    number: int
    seed: int
    version: int
    protocol: int
    ecn: int
    plain: int

class SentLog(Struct):
    times: Pointer[int]
    turns: Pointer[int]
    places: Pointer[int]
    room: int
    turn: Pointer[int]

class SentTraffic(Struct):
    templates: FrameTemplate
    n_templates: int
    n_order: int
    order: Pointer[int]
    stamp_at: int
    flow_index: int
    by_template: Pointer[int]
    by_flow: Pointer[int]
    n_flows: int

class Stack(Struct):
    top: int
    room: int
    free: Pointer[int]

class Stream(Struct):
    next: int
    received: int
    duplicated: int
    reordered: int
    stale: int
    latencies: Pointer[int]
    delay: int
    jitter: int
    difference_sum: int
    difference_max: int
    unpaired: int
    seen: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class StreamLosses(Struct):
    sender: Stream
    times: Pointer[int]
    decided: int
    before: int
    first: int
    packets: int
    row: int
    lost: int
    lost_before: int
    log: SentLog
    marks: Pointer[int]
    written: int
    traffic: SentTraffic
    fields: Field
    turns: Pointer[Pointer[int]]
    n_turns: int

class SwitchLoop(Struct):
    w: Inline[WaysLoop, WaysLoop | WaysLoopFields]
    macs: MacEntry
    n_macs: int
    age: int
    unit: int
    seed: int
    gap: int
    slack: int
    due: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    moved: int
    flooded: int
    unlearned: int

class Taken(Struct):
    packets: int
    bytes: int
    at: int

class TapQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    fd: int
    large: Pointer[int]
    segments: Inline[Segments, Segments | SegmentsFields]

class Timing(Struct):
    pace: float
    gap_max: int
    last_ns: int
    last_due: int
    begun: int

class Trace(Struct):
    only: Filter
    packets: Traced
    watched: Pointer[Pointer[int]]
    n_packets: int
    n_watched: int
    claimed: int

class Traced(Struct):
    stamp: int
    counted: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    done: int
    port: int
    lane: int
    before: int
    after: int
    reason: int
    fates: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    came: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    leaves: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]

class Vector(Struct):
    unmask: Inline[Doorbell, Doorbell | DoorbellFields]
    mask: Inline[Doorbell, Doorbell | DoorbellFields]
    unmask_value: int
    mask_value: int
    cause: Inline[Doorbell, Doorbell | DoorbellFields]
    line_fd: int

class VirtqAvailable(Struct):
    flags: int
    index: int
    ring: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class VirtqDescriptor(Struct):
    address: int
    word: int

class VirtqEvents(Struct):
    position: int
    flags: int

class VirtqQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    descriptors: VirtqDescriptor
    available: VirtqAvailable
    used: VirtqUsed
    ours: VirtqEvents
    theirs: VirtqEvents
    buffers: Pointer[int]
    chains: int
    descs_per_chain: int
    next: int
    clean: int
    published: int
    limit: int
    merges: int
    in_order: int
    notification_data: int
    number: int
    left: int
    part: Inline[Partial, Partial | PartialFields]
    header: int
    dma_base: int
    first: int
    buffer: int
    bell: Inline[Doorbell, Doorbell | DoorbellFields]

class VirtqUsed(Struct):
    flags: int
    index: int
    ring: Inline[
        VirtqUsedElement, Sequence[VirtqUsedElement | VirtqUsedElementFields] | VirtqUsedElement
    ]

class VirtqUsedElement(Struct):
    id: int
    length: int

class Vmxnet3Area(Struct):
    magic: int
    size: int
    version: int
    guest: int
    revisions: int
    upt_versions: int
    features: int
    driver_data: int
    queues: int
    driver_data_size: int
    queues_size: int
    mtu: int
    pieces: int
    tx_queues: int
    rx_queues: int
    reserved1: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    auto_mask: int
    interrupts: int
    event_interrupt: int
    moderation: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    interrupt_control: int
    reserved2: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    rx_mode: int
    multicast_size: int
    unused1: int
    multicast: int
    vlans: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    rss: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    power: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    plugin: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    events: int
    reserved3: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    unused2: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    tx: Inline[Vmxnet3TxArea, Vmxnet3TxArea | Vmxnet3TxAreaFields]
    rx: Inline[Vmxnet3RxArea, Vmxnet3RxArea | Vmxnet3RxAreaFields]

class Vmxnet3Completion(Struct):
    low: int
    high: int

class Vmxnet3Descriptor(Struct):
    address: int
    word: int

class Vmxnet3Queue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    rings: Inline[Vmxnet3Ring, Sequence[Vmxnet3Ring | Vmxnet3RingFields] | Vmxnet3Ring]
    completions: Vmxnet3Completion
    completions_size: int
    completed: int
    tx_flags: int
    dma_base: int
    rx_bad: int
    wants_doorbell: Pointer[int]
    part: Inline[Partial, Partial | PartialFields]
    vector: Inline[Vector, Vector | VectorFields]

class Vmxnet3Ring(Struct):
    slots: Vmxnet3Descriptor
    buffers: Pointer[int]
    size: int
    next: int
    fill: int
    notified: int
    limit: int
    bell: Inline[Doorbell, Doorbell | DoorbellFields]

class Vmxnet3RxArea(Struct):
    wants_doorbell: int
    unused1: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    reserved1: int
    rings: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    completions: int
    driver_data: int
    data: int
    sizes: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    completions_size: int
    driver_data_size: int
    interrupt: int
    unused2: int
    data_bytes: int
    unused3: int
    stopped: int
    unused4: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    error: int
    lro_packets: int
    lro_bytes: int
    unicast_packets: int
    unicast_bytes: int
    multicast_packets: int
    multicast_bytes: int
    broadcast_packets: int
    broadcast_bytes: int
    out_of_buffer: int
    errors: int
    unused5: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]

class Vmxnet3TxArea(Struct):
    deferred: int
    threshold: int
    reserved1: int
    ring: int
    data: int
    completions: int
    driver_data: int
    reserved2: int
    size: int
    data_size: int
    completions_size: int
    driver_data_size: int
    interrupt: int
    unused1: int
    data_bytes: int
    unused2: int
    stopped: int
    unused3: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]
    error: int
    tso_packets: int
    tso_bytes: int
    unicast_packets: int
    unicast_bytes: int
    multicast_packets: int
    multicast_bytes: int
    broadcast_packets: int
    broadcast_bytes: int
    errors: int
    discarded: int
    unused4: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]

class Watch(Struct):
    burst: Callable[[Queue, Packet, int], int]
    shared: WatchShared
    records: Pointer[int]
    size: int
    next: int
    taken: int
    longest: int
    sends: int
    drops: int

class WatchRecord(Struct):
    ns: int
    length: int
    kept: int
    reason: int
    unused: int

class WatchShared(Struct):
    tail: int
    missed: int
    pad0: Inline[Pointer[int], Sequence[int] | Pointer[int]]
    head: int
    pad1: Inline[Pointer[int], Sequence[int] | Pointer[int]]

class WatchedNote(Struct):
    options: Pointer[int]
    bytes: int

class WatchedQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    shared: WatchShared
    records: Pointer[int]
    size: int
    next: int
    missed: int
    over: int
    noted: int
    interface: int
    n_notes: int
    notes: WatchedNote

class Ways(Struct):
    port: int
    other: int
    mirror: int
    exits: Inline[Pointer[int], Sequence[int] | Pointer[int] | Octets]

class WaysLoop(Struct):
    f: Inline[ForwardLoop, ForwardLoop | ForwardLoopFields]
    ways: Ways
    n_ways: int

class Worker(Struct):
    stop: int
    pause: int
    paused: int
    poll: int
    burst: int
    ending: int
    wake_fd: int
    n_lanes: int
    lanes: Lane
    stack: Stack
    budget: Pointer[int]
    deadline: int
    spin: int
    idle_since: int
    flush_at: int
    rounds: int
    spurious: int
    start: int
    end: int
    first: int
    ticks_hz: int
    turn: int
    done: int
    also: Worker

class XdpQueue(AnyQueue):
    q: Inline[Queue, Queue | QueueFields]
    frames: Inline[XdpRing, XdpRing | XdpRingFields]
    buffers: Inline[XdpRing, XdpRing | XdpRingFields]
    owners: Pointer[int]
    n_owners: int
    size: int
    given: int
    chunk_shift: int
    n_chunks: int
    limit: int
    always_wake: int
    zero_copy: int
    skipping: int
    taken: int
    part: Inline[Partial, Partial | PartialFields]
    fd: int

class XdpRing(Struct):
    producer: Pointer[int]
    consumer: Pointer[int]
    flags: Pointer[int]
    slots: Pointer[int]

class XdpSlot(Struct):
    address: int
    length: int
    options: int

class BottleneckFields(TypedDict, total=False):
    queue: Queued
    n_places: int
    first: int
    used: int
    most: int
    longest: int
    bytes: int
    longest_wait: int
    codel: Codel | CodelFields
    byte_ticks: int
    bucket: int
    full_at: int
    free_at: int
    trace: Pointer[int]
    n_trace: int
    next: int
    base: int
    at: int
    left: int
    unsent: int
    sending: Queued | QueuedFields

class BurstFields(TypedDict, total=False):
    packets: Sequence[Packet | PacketFields] | Packet
    stamps: Sequence[int] | Pointer[int]
    origins: Sequence[Origin | OriginFields] | Origin

class CodelFields(TypedDict, total=False):
    target: int
    interval: int
    first_above_time: int
    drop_next: int
    count: int
    lastcount: int
    dropping: int
    again: int

class DelayedQueueFields(TypedDict, total=False):
    waiting: Delayed
    n_waiting: int
    first: int
    used: int
    most: int
    serial: int

class DoorbellFields(TypedDict, total=False):
    mmio: CData
    link: QtestLink
    address: int
    bytes: int
    wire_fd: int

class FieldFields(TypedDict, total=False):
    apply: Callable[[Field, Pool, Packet, int], None]
    next: Field

class FilterStepFields(TypedDict, total=False):
    code: int
    if_true: int
    if_false: int
    value: int

class FlowEndsFields(TypedDict, total=False):
    addresses: Sequence[Sequence[int] | Pointer[int] | Octets] | Pointer[Pointer[int]]
    ports: Sequence[int] | Pointer[int]
    ether_type: int
    protocol: int
    version: int

class ForwardLoopFields(TypedDict, total=False):
    w: Worker | WorkerFields
    full: int
    mirrors: int
    trace: Trace
    fields: Field

class LossFields(TypedDict, total=False):
    first: int
    packets: int
    before: int
    after: int
    stream: int
    ended: int

class LpmFields(TypedDict, total=False):
    direct: Pointer[int]
    nodes: LpmNode
    values: Pointer[int]
    n_direct: int
    n_nodes: int
    n_values: int
    bits: int

class MemifDescriptorFields(TypedDict, total=False):
    flags: int
    region: int
    length: int
    offset: int
    metadata: int

class MissedFields(TypedDict, total=False):
    high: int
    low: int
    is_ipv6: int

class OriginFields(TypedDict, total=False):
    length: int
    kept: int
    time: int
    options: Pointer[int]
    option_bytes: int
    interface: int
    swapped: int
    losses: int

class PacketFields(TypedDict, total=False):
    index: int
    offset: int
    length: int

class PartialFields(TypedDict, total=False):
    frame: Packet | PacketFields
    open: int
    wrong: int

class PcapBegunFields(TypedDict, total=False):
    at: int
    published: int
    n_interfaces: int
    sections: int
    swapped: int

class PcapBlockFields(TypedDict, total=False):
    at: Pointer[int]
    bytes: int
    type: int
    swapped: int

class PcapFlowsFields(TypedDict, total=False):
    at: PcapFlow
    slots: int
    most_slots: int
    used: int
    seed: int
    beyond: int

class PcapHeldFields(TypedDict, total=False):
    ring: PcapRing
    most: int
    passed: int
    lost_ns: int
    settled: int

class PcapInterfaceFields(TypedDict, total=False):
    times: int
    divisor: int
    offset: int
    shift: int
    plain: int
    link_type: int
    snaplen: int
    fcs: int

class PcapMoveFields(TypedDict, total=False):
    bytes: int
    passed: int

class PcapPositionsFields(TypedDict, total=False):
    published: int
    pad0: Sequence[int] | Pointer[int]
    written: int
    beyond: int
    beyond_bytes: int
    scanned: int
    untriggered: int
    untriggered_bytes: int
    pad1: Sequence[int] | Pointer[int]

class PcapRingFields(TypedDict, total=False):
    positions: PcapPositions
    chunks: PcapChunk
    n_chunks: int
    format: int
    staged: int
    patient: int
    taken: int

class PcapRunFields(TypedDict, total=False):
    packets: int
    bytes: int
    from_ns: int
    to_ns: int
    first: int

class PcapWindowFields(TypedDict, total=False):
    ns: int
    tail: int
    packets: int
    bytes: int
    most_packets: int
    most_bytes: int
    at_ns: int
    first: int
    last: int
    lost: int
    unused: int

class QueueFields(TypedDict, total=False):
    burst: Callable[[Queue, Packet, int], int]
    arm: Callable[[Queue, int], int]
    flush: Callable[[Queue], int]
    pool: Pool
    stack: Stack
    counters: Counters
    stamps: Pointer[int]
    origins: Origin
    wake_fd: int
    lossless: int
    patient: int
    closed: int
    fault: int
    ended: int
    sys_errno: int
    watch: Watch

class QueuedFields(TypedDict, total=False):
    came: int
    delay: int
    stamp: int
    packet: Packet | PacketFields

class SegmentsFields(TypedDict, total=False):
    frame: Pointer[int]
    left: int
    at: int
    size: int
    headers: int
    network: int
    transport: int
    number: int
    seed: int
    version: int
    protocol: int
    ecn: int
    plain: int

class TakenFields(TypedDict, total=False):
    packets: int
    bytes: int
    at: int

class TimingFields(TypedDict, total=False):
    pace: float
    gap_max: int
    last_ns: int
    last_due: int
    begun: int

class VectorFields(TypedDict, total=False):
    unmask: Doorbell | DoorbellFields
    mask: Doorbell | DoorbellFields
    unmask_value: int
    mask_value: int
    cause: Doorbell | DoorbellFields
    line_fd: int

class VirtqUsedElementFields(TypedDict, total=False):
    id: int
    length: int

class Vmxnet3RingFields(TypedDict, total=False):
    slots: Vmxnet3Descriptor
    buffers: Pointer[int]
    size: int
    next: int
    fill: int
    notified: int
    limit: int
    bell: Doorbell | DoorbellFields

class Vmxnet3RxAreaFields(TypedDict, total=False):
    wants_doorbell: int
    unused1: Sequence[int] | Pointer[int] | Octets
    reserved1: int
    rings: Sequence[int] | Pointer[int]
    completions: int
    driver_data: int
    data: int
    sizes: Sequence[int] | Pointer[int]
    completions_size: int
    driver_data_size: int
    interrupt: int
    unused2: int
    data_bytes: int
    unused3: int
    stopped: int
    unused4: Sequence[int] | Pointer[int] | Octets
    error: int
    lro_packets: int
    lro_bytes: int
    unicast_packets: int
    unicast_bytes: int
    multicast_packets: int
    multicast_bytes: int
    broadcast_packets: int
    broadcast_bytes: int
    out_of_buffer: int
    errors: int
    unused5: Sequence[int] | Pointer[int] | Octets

class Vmxnet3TxAreaFields(TypedDict, total=False):
    deferred: int
    threshold: int
    reserved1: int
    ring: int
    data: int
    completions: int
    driver_data: int
    reserved2: int
    size: int
    data_size: int
    completions_size: int
    driver_data_size: int
    interrupt: int
    unused1: int
    data_bytes: int
    unused2: int
    stopped: int
    unused3: Sequence[int] | Pointer[int] | Octets
    error: int
    tso_packets: int
    tso_bytes: int
    unicast_packets: int
    unicast_bytes: int
    multicast_packets: int
    multicast_bytes: int
    broadcast_packets: int
    broadcast_bytes: int
    errors: int
    discarded: int
    unused4: Sequence[int] | Pointer[int] | Octets

class WaysLoopFields(TypedDict, total=False):
    f: ForwardLoop | ForwardLoopFields
    ways: Ways
    n_ways: int

class WorkerFields(TypedDict, total=False):
    stop: int
    pause: int
    paused: int
    poll: int
    burst: int
    ending: int
    wake_fd: int
    n_lanes: int
    lanes: Lane
    stack: Stack
    budget: Pointer[int]
    deadline: int
    spin: int
    idle_since: int
    flush_at: int
    rounds: int
    spurious: int
    start: int
    end: int
    first: int
    ticks_hz: int
    turn: int
    done: int
    also: Worker

class XdpRingFields(TypedDict, total=False):
    producer: Pointer[int]
    consumer: Pointer[int]
    flags: Pointer[int]
    slots: Pointer[int]

class Lib:
    BUCKETS: int
    BURST_MAX: int
    BURST_WINDOWS: int
    CACHE_LINE: int
    CACHE_OFFSETS: int
    CHECK_ADD: int
    CHECK_CRC: int
    CHECK_NONE: int
    CHECK_SUM: int
    CHOICE_ALIAS: int
    CHOICE_RANDOM: int
    CHOICE_TURN: int
    COLUMNS_ROOM: int
    DEDUP_MAC: int
    DEDUP_PLACES: int
    DEDUP_TTL: int
    DROP_BAD_CHAIN: int
    DROP_BAD_CHECKSUM: int
    DROP_BAD_FRAME: int
    DROP_BAD_HEADER: int
    DROP_BAD_LENGTH: int
    DROP_BAD_RECORD: int
    DROP_BAD_SLOT: int
    DROP_BAD_SOURCE: int
    DROP_BEYOND_FIRST: int
    DROP_CODEL: int
    DROP_DEVICE_RESET: int
    DROP_DOWN: int
    DROP_DUPLICATE: int
    DROP_ENDED: int
    DROP_ERRORS: int
    DROP_FILTERED: int
    DROP_IMPAIR_FULL: int
    DROP_JOINED: int
    DROP_LINK_LOCAL: int
    DROP_LOSS: int
    DROP_NOT_ETHERNET: int
    DROP_NOT_IP: int
    DROP_NOT_ROUTED: int
    DROP_NO_NEIGHBOR: int
    DROP_NO_ROOM: int
    DROP_NO_ROUTE: int
    DROP_OTHER_HOST: int
    DROP_PEER_LEFT: int
    DROP_POLICED: int
    DROP_QUEUE_FULL: int
    DROP_REASONS: int
    DROP_REFUSED: int
    DROP_SAME_PORT: int
    DROP_TOO_LONG: int
    DROP_TOO_SHORT: int
    DROP_TO_ROUTER: int
    DROP_TRUNCATED: int
    DROP_TTL_EXPIRED: int
    DROP_UNTRIGGERED: int
    DROP_WORKER_LOST: int
    END_COUNT: int
    END_DEADLINE: int
    END_SOURCE: int
    END_STOPPED: int
    FATE_DROPPED: int
    FATE_NONE: int
    FATE_SENT: int
    FATE_WAITS: int
    FAULT_GONE: int
    FAULT_IO: int
    FAULT_MALFORMED: int
    FAULT_MEMORY: int
    FAULT_NONE: int
    FAULT_PEER: int
    FAULT_RING: int
    FILTER_INTERPRETED: int
    FILTER_JUMPS_BACK: int
    FILTER_NATIVE: int
    FILTER_NOT_RUN: int
    FILTER_STEPS: int
    FIRST_PROBES: int
    FLOW_ORDER_PROBES: int
    FRAME_SHORTEST: int
    FULL_DROP: int
    FULL_WAIT: int
    HISTOGRAM_SLOTS: int
    HOP_ACTS: int
    HOP_DROP: int
    HOP_LOCAL: int
    HOP_NONE: int
    HOP_NO_NEIGHBOR: int
    HOP_ROUTER: int
    HOP_SEND: int
    LOOK_BLOCK: int
    LOOK_END: int
    LOOK_FAULT: int
    LOOK_LINK: int
    LOOK_LINKS: int
    LOOK_ROOM: int
    LOOK_STEPS: int
    LOOK_WAIT: int
    LOSSES_KEPT: int
    LPM_LEVELS: int
    LPM_STRIDE: int
    LPM_VALUE_MAX: int
    MEMIF_COOKIE: int
    MEMIF_MASK_INT: int
    MEMIF_NEXT: int
    MEMORY_EXECUTABLE: int
    MEMORY_READ_ONLY: int
    MEMORY_SEQUENTIAL: int
    NO_EXIT: int
    ORDER_CLOSE: int
    ORDER_KICK: int
    ORDER_MAP: int
    ORDER_TAKE: int
    ORDER_UNMAP: int
    PACE_TABLE: int
    PASSAGE_DROPPED: int
    PASSAGE_LEFT: int
    PASSAGE_NONE: int
    PCAP_ANOTHER: int
    PCAP_AS_NOW: int
    PCAP_CHUNK: int
    PCAP_CUT: int
    PCAP_EITHER: int
    PCAP_FOREVER: int
    PCAP_HELD: int
    PCAP_INTERFACES: int
    PCAP_IN_TURNS: int
    PCAP_KEPT: int
    PCAP_LENGTH: int
    PCAP_LONGEST: int
    PCAP_NG: int
    PCAP_NS: int
    PCAP_OLDER: int
    PCAP_ONCE: int
    PCAP_ORDER: int
    PCAP_PAD: int
    PCAP_RINGS: int
    PCAP_ROOM: int
    PCAP_SEND: int
    PCAP_SKIP: int
    PCAP_TAIL: int
    PCAP_TOO_MANY: int
    PCAP_TORN: int
    PCAP_UNKNOWN: int
    PCAP_US: int
    PCAP_VERSION: int
    PCAP_WELL: int
    PCAP_WINDOW: int
    POLL_ADAPTIVE: int
    POLL_BUSY: int
    POLL_SLEEP: int
    PROGRAM_CHECKS: int
    REUSED_TEMPLATES: int
    REWRITE_ADD: int
    REWRITE_DST: int
    REWRITE_IP: int
    REWRITE_IP6: int
    REWRITE_MAC: int
    REWRITE_NO_ADDRESS: int
    REWRITE_PUT: int
    REWRITE_SPOIL: int
    REWRITE_SRC: int
    REWRITE_TAG_KEEP: int
    REWRITE_TAG_REMOVE: int
    REWRITE_TAG_SET: int
    REWRITE_TCP: int
    REWRITE_UDP: int
    REWRITE_VLAN: int
    RULE_DROP: int
    RULE_PASS: int
    RULE_TO: int
    RUNNING: int
    SWAP_IP: int
    SWAP_MAC: int
    SWAP_PORT: int
    TAKEN_NONE: int
    TALLY_BINS: int
    TALLY_SIZES: int
    TAP_LARGE: int
    TRACE_BYTES: int
    TRACE_EXITS: int
    TRACE_WATCHED: int
    VIRTQ_AVAILABLE: int
    VIRTQ_MERGED_AT: int
    VIRTQ_NET_HEADER: int
    VIRTQ_NEXT: int
    VIRTQ_NONE: int
    VIRTQ_QUIET: int
    VIRTQ_USED: int
    VIRTQ_WRITE: int
    WATCH_HEAD: int
    WATCH_PASSED: int
    WATCH_RING: int
    WATCH_SKIP: int
    WAYS_MAX: int
    def answer_drop(self, _0: Answer, /) -> None: ...
    def answer_see(self, _0: Answer, _1: Pool, _2: Packet, /) -> None: ...
    def answer_send(self, _0: Answer, /) -> None: ...
    def bare_access(self, _0: Pointer[Octets] | Octets, _1: int, /) -> int: ...
    def bottleneck_due(self, _0: Bottleneck, /) -> int: ...
    def bottleneck_empty(self, _0: Bottleneck, _1: Queued, /) -> int: ...
    def bottleneck_move(self, _0: Bottleneck, _1: int, /) -> None: ...
    def bottleneck_next(self, _0: Bottleneck, _1: int, _2: Queued, _3: Pointer[int], /) -> int: ...
    def bottleneck_put(self, _0: Bottleneck, _1: Queued, /) -> None: ...
    def built_with_asan(self) -> int: ...
    def capabilities_drop(self, _0: int, /) -> int: ...
    def capabilities_inherit(self) -> int: ...
    def child_begin(self, _0: Child, /) -> int: ...
    def child_confine(self, _0: Child, /) -> int: ...
    def code_add(self, _0: Pointer[int] | Octets, /) -> int: ...
    def code_known(self, _0: Pointer[int] | Octets, /) -> int: ...
    def code_remove(self, _0: Pointer[int] | Octets, /) -> None: ...
    def delayed_move(self, _0: Delayed, _1: int, _2: int, /) -> None: ...
    def end_with(self, _0: int, /) -> int: ...
    def field_program(self, _0: Field, _1: Pool, _2: Packet, _3: int, /) -> None: ...
    def field_rewrite(self, _0: Field, _1: Pool, _2: Packet, _3: int, /) -> None: ...
    def file_direct_alignment(self, _0: int, /) -> int: ...
    def file_write_behind(self, _0: int, _1: int, _2: int, _3: int, /) -> None: ...
    def filter_accepts(self, _0: Filter, _1: Pointer[int] | Octets, _2: int, _3: int, /) -> int: ...
    def filter_interpret(
        self, _0: Filter, _1: Pointer[int] | Octets, _2: int, _3: int, /
    ) -> int: ...
    def guard_add(self, _0: CData, _1: int, _2: Pointer[int], /) -> int: ...
    def guard_install(self) -> int: ...
    def guard_map(self, _0: int, _1: int, _2: Pointer[int], /) -> CData: ...
    def guard_remove(self, _0: CData, /) -> None: ...
    def guard_unmap(self, _0: CData, _1: int, /) -> None: ...
    def histogram_floor(self, _0: int, /) -> int: ...
    def identify_file(self, _0: Pointer[Octets] | Octets, _1: FileIdentity, /) -> int: ...
    def intel_advanced_arm(self, _0: Queue, _1: int, /) -> int: ...
    def intel_advanced_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def intel_advanced_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def intel_clean(self, _0: IntelQueue, /) -> int: ...
    def intel_empty(self, _0: IntelQueue, _1: int, /) -> None: ...
    def intel_fill(self, _0: IntelQueue, /) -> int: ...
    def intel_legacy_arm(self, _0: Queue, _1: int, /) -> int: ...
    def intel_legacy_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def intel_legacy_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def kick_install(self, _0: int, /) -> int: ...
    def lookup_add(self, _0: Lookup, _1: int, /) -> None: ...
    def loop_balance(self, _0: Worker, /) -> None: ...
    def loop_balance_traced(self, _0: Worker, /) -> None: ...
    def loop_capture(self, _0: Worker, /) -> None: ...
    def loop_divert(self, _0: Worker, /) -> None: ...
    def loop_drop(self, _0: Worker, /) -> None: ...
    def loop_forward(self, _0: Worker, /) -> None: ...
    def loop_forward_traced(self, _0: Worker, /) -> None: ...
    def loop_generate(self, _0: Worker, /) -> None: ...
    def loop_impair(self, _0: Worker, /) -> None: ...
    def loop_macswap(self, _0: Worker, /) -> None: ...
    def loop_macswap_traced(self, _0: Worker, /) -> None: ...
    def loop_measure(self, _0: Worker, /) -> None: ...
    def loop_mirror(self, _0: Worker, /) -> None: ...
    def loop_mirror_traced(self, _0: Worker, /) -> None: ...
    def loop_profile(self, _0: Worker, /) -> None: ...
    def loop_reflect(self, _0: Worker, /) -> None: ...
    def loop_replay(self, _0: Worker, /) -> None: ...
    def loop_route(self, _0: Worker, /) -> None: ...
    def loop_route_traced(self, _0: Worker, /) -> None: ...
    def loop_rules(self, _0: Worker, /) -> None: ...
    def loop_rules_traced(self, _0: Worker, /) -> None: ...
    def loop_switch(self, _0: Worker, /) -> None: ...
    def loop_switch_traced(self, _0: Worker, /) -> None: ...
    def losses_advance(self, _0: Losses, _1: int, _2: Stream, _3: int, /) -> int: ...
    def losses_write(self, _0: Losses, _1: Worker, _2: int, /) -> int: ...
    def lpm_build(self, _0: Lpm, _1: LpmPrefixes, _2: Pointer[int], /) -> None: ...
    def lpm_look_up(self, _0: Lpm, _1: int, _2: int, /) -> int: ...
    def lpm_time(
        self, _0: Lpm, _1: Pointer[int], _2: Pointer[int], _3: int, _4: Pointer[int], /
    ) -> float: ...
    def macs_known(self, _0: MacEntry, _1: int, _2: int, _3: int, /) -> int: ...
    def memif_copy_arm(self, _0: Queue, _1: int, /) -> int: ...
    def memif_copy_lend(self, _0: MemifQueue, /) -> None: ...
    def memif_copy_revive_rx(self, _0: MemifQueue, /) -> int: ...
    def memif_copy_revive_tx(self, _0: MemifQueue, /) -> int: ...
    def memif_copy_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def memif_copy_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def memif_take_back(self, _0: MemifQueue, /) -> None: ...
    def memif_untaken(self, _0: MemifQueue, /) -> int: ...
    def memif_zero_arm(self, _0: Queue, _1: int, /) -> int: ...
    def memif_zero_reset(self, _0: MemifQueue, /) -> None: ...
    def memif_zero_revive_rx(self, _0: MemifQueue, /) -> int: ...
    def memif_zero_revive_tx(self, _0: MemifQueue, /) -> int: ...
    def memif_zero_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def memif_zero_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def memory_hide(self, _0: CData, _1: int, /) -> int: ...
    def memory_map(self, _0: int, _1: int, _2: int, _3: int, /) -> CData: ...
    def memory_map_at(self, _0: CData, _1: int, _2: int, _3: int, _4: int, /) -> CData: ...
    def memory_unmap(self, _0: CData, _1: int, /) -> int: ...
    def mmio_read(self, _0: CData, _1: int, /) -> int: ...
    def mmio_write(self, _0: CData, _1: int, _2: int, /) -> None: ...
    def null_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def null_rx_cleared(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def null_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def pace_begin(self, _0: Pace, _1: int, /) -> None: ...
    def pace_ready(self, _0: Pace, _1: int, _2: int, /) -> int: ...
    def pace_rest(self, _0: Pace, _1: int, /) -> int: ...
    def pace_resume(self, _0: Pace, _1: int, _2: int, _3: int, /) -> int: ...
    def packet_bind(self, _0: int, _1: int, _2: int, /) -> int: ...
    def packet_bound(self, _0: int, /) -> int: ...
    def packet_ip_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def packet_revive(self, _0: PacketQueue, /) -> None: ...
    def packet_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def packet_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def pcap_arm(self, _0: Queue, _1: int, /) -> int: ...
    def pcap_bursts_move(self, _0: PcapBursts, _1: PcapArrival, _2: int, /) -> None: ...
    def pcap_can_make(self, _0: int, /) -> int: ...
    def pcap_cut(
        self, _0: PcapRing, _1: Pointer[int] | Octets, _2: int, _3: int, _4: Pointer[int], /
    ) -> int: ...
    def pcap_flows_move(self, _0: PcapFlows, _1: PcapFlow, _2: int, /) -> None: ...
    def pcap_flows_top(self, _0: PcapFlows, _1: Pointer[int], _2: int, _3: int, /) -> int: ...
    def pcap_flush(self, _0: Queue, /) -> int: ...
    def pcap_forget(self, _0: PcapRing, _1: Pointer[int], /) -> int: ...
    def pcap_hold_end(self, _0: PcapHold, /) -> None: ...
    def pcap_hold_look(self, _0: PcapHold, /) -> None: ...
    def pcap_hold_peek(self, _0: PcapHold, _1: int, _2: Pointer[Pointer[int]], /) -> int: ...
    def pcap_hold_sleep(self, _0: PcapHold, _1: PcapRing, _2: int, /) -> int: ...
    def pcap_look(self, _0: PcapLook, _1: PcapSeen, _2: int, _3: int, /) -> int: ...
    def pcap_note(self, _0: PcapSink, _1: Pointer[int] | Octets, _2: int, /) -> int: ...
    def pcap_peek(self, _0: PcapRing, _1: Pointer[Pointer[int]], /) -> int: ...
    def pcap_peek_at(self, _0: PcapRing, _1: Pointer[int], _2: Pointer[Pointer[int]], /) -> int: ...
    def pcap_release(self, _0: PcapRing, _1: int, /) -> None: ...
    def pcap_revive(self, _0: PcapSource, /) -> None: ...
    def pcap_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def pcap_settle(self, _0: PcapRing, _1: int, /) -> None: ...
    def pcap_sink_revive(self, _0: PcapSink, /) -> int: ...
    def pcap_sleep(self, _0: PcapShared, _1: PcapRing, _2: int, /) -> int: ...
    def pcap_stage(
        self, _0: Pointer[int] | Octets, _1: Pointer[int] | Octets, _2: int, /
    ) -> None: ...
    def pcap_survey(self, _0: PcapSource, _1: int, /) -> int: ...
    def pcap_take(self, _0: PcapRing, _1: int, /) -> None: ...
    def pcap_taken(self, _0: PcapRing, /) -> int: ...
    def pcap_timer(self) -> int: ...
    def pcap_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def pcap_tx_sliced(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def pcap_whole(self, _0: PcapRing, _1: Pointer[int] | Octets, _2: int, /) -> int: ...
    def process_fork(self, _0: Pointer[int], /) -> int: ...
    def process_name(self, _0: Pointer[Octets] | Octets, /) -> None: ...
    def process_obey(self, _0: Order, _1: int, /) -> int: ...
    def process_serve(self, _0: int, _1: Post, _2: SandboxStep, _3: int, /) -> None: ...
    def process_start(self, _0: Hand, _1: int, /) -> int: ...
    def qtest_ask(
        self, _0: QtestLink, _1: int, _2: Pointer[Octets] | Octets, _3: int, _4: Pointer[int], /
    ) -> int: ...
    def qtest_synchronize(self, _0: QtestLink, _1: int, /) -> int: ...
    def sandbox_landlock(self) -> int: ...
    def sandbox_seal(self, _0: SandboxStep, _1: int, /) -> int: ...
    def sandbox_tell(self, _0: Pointer[int], _1: int, /) -> int: ...
    def signal_at_parting(self, _0: int, /) -> int: ...
    def tap_give_up(self, _0: TapQueue, /) -> int: ...
    def tap_offload_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def tap_offload_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def tap_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def tap_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def ticks_now(self) -> int: ...
    def virtq_answered(self, _0: VirtqQueue, /) -> int: ...
    def virtq_arm(self, _0: Queue, _1: int, /) -> int: ...
    def virtq_ask(self, _0: VirtqQueue, _1: int, _2: int, _3: int, /) -> None: ...
    def virtq_clean(self, _0: VirtqQueue, /) -> int: ...
    def virtq_empty(self, _0: VirtqQueue, /) -> None: ...
    def virtq_fill(self, _0: VirtqQueue, _1: int, /) -> int: ...
    def virtq_packed_answered(self, _0: VirtqQueue, /) -> int: ...
    def virtq_packed_arm(self, _0: Queue, _1: int, /) -> int: ...
    def virtq_packed_ask(self, _0: VirtqQueue, _1: int, _2: int, _3: int, /) -> None: ...
    def virtq_packed_clean(self, _0: VirtqQueue, /) -> int: ...
    def virtq_packed_fill(self, _0: VirtqQueue, _1: int, /) -> int: ...
    def virtq_packed_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def virtq_packed_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def virtq_packed_value(self, _0: VirtqQueue, /) -> int: ...
    def virtq_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def virtq_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def virtq_value(self, _0: VirtqQueue, /) -> int: ...
    def vmxnet3_arm(self, _0: Queue, _1: int, /) -> int: ...
    def vmxnet3_clean(self, _0: Vmxnet3Queue, /) -> int: ...
    def vmxnet3_empty(self, _0: Vmxnet3Queue, /) -> None: ...
    def vmxnet3_fill(self, _0: Vmxnet3Queue, _1: int, /) -> int: ...
    def vmxnet3_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def vmxnet3_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def watch_burst(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def watch_drops(self, _0: Queue, _1: int, _2: Packet, _3: int, /) -> None: ...
    def watched_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def wire_release(self, _0: int, /) -> int: ...
    def xdp_bind(self, _0: int, _1: int, _2: int, _3: int, /) -> int: ...
    def xdp_fill(self, _0: XdpQueue, /) -> None: ...
    def xdp_flush(self, _0: Queue, /) -> int: ...
    def xdp_pending(self, _0: XdpQueue, _1: Pointer[int], /) -> int: ...
    def xdp_revive(self, _0: XdpQueue, _1: int, /) -> None: ...
    def xdp_rx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...
    def xdp_tx(self, _0: Queue, _1: Packet, _2: int, /) -> int: ...

class FFI:
    NULL: Any
    errno: int
    class error(
        Exception): ...
    def sizeof(self, what: str | CData) -> int: ...
    def alignof(self, what: str | CData) -> int: ...
    def list_types(self) -> tuple[list[str], list[str], list[str]]: ...
    def offsetof(self, struct: str, *fields: str | int) -> int: ...
    def typeof(self, what: str | CData | Callable[..., Any]) -> Any: ...
    def buffer(self, data: CData, size: int = ...) -> memoryview: ...
    def memmove(self, to: CData, of: CData | ReadableBuffer, size: int) -> None: ...
    def release(self, data: CData) -> None: ...
    def new_allocator(
        self, alloc: Callable[[int], CData], free: Callable[[Any], None]
    ) -> Callable[..., Any]: ...
    def string(self, data: CData, longest: int = ...) -> bytes: ...
    @overload
    def addressof(self, data: D, /) -> D: ...
    @overload
    def addressof(self, data: CData | Lib, name: str | int, /, *more: str | int
    ) -> Any: ...
    @overload
    def new(
        self, cdecl: Literal["struct answer *", "struct answer[]"], init: object = ...
    ) -> Answer: ...
    @overload
    def new(
        self, cdecl: Literal["struct answer_net *", "struct answer_net[]"], init: object = ...
    ) -> AnswerNet: ...
    @overload
    def new(
        self, cdecl: Literal["struct balance_loop *", "struct balance_loop[]"], init: object = ...
    ) -> BalanceLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct bottleneck *", "struct bottleneck[]"], init: object = ...
    ) -> Bottleneck: ...
    @overload
    def new(
        self, cdecl: Literal["struct burst *", "struct burst[]"], init: object = ...
    ) -> Burst: ...
    @overload
    def new(
        self, cdecl: Literal["struct capture_loop *", "struct capture_loop[]"], init: object = ...
    ) -> CaptureLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct child *", "struct child[]"], init: object = ...
    ) -> Child: ...
    @overload
    def new(
        self, cdecl: Literal["struct codel *", "struct codel[]"], init: object = ...
    ) -> Codel: ...
    @overload
    def new(
        self, cdecl: Literal["struct counters *", "struct counters[]"], init: object = ...
    ) -> Counters: ...
    @overload
    def new(
        self, cdecl: Literal["struct dedup *", "struct dedup[]"], init: object = ...
    ) -> Dedup: ...
    @overload
    def new(
        self, cdecl: Literal["struct delayed *", "struct delayed[]"], init: object = ...
    ) -> Delayed: ...
    @overload
    def new(
        self, cdecl: Literal["struct delayed_queue *", "struct delayed_queue[]"], init: object = ...
    ) -> DelayedQueue: ...
    @overload
    def new(
        self, cdecl: Literal["struct divert_loop *", "struct divert_loop[]"], init: object = ...
    ) -> DivertLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct doorbell *", "struct doorbell[]"], init: object = ...
    ) -> Doorbell: ...
    @overload
    def new(
        self, cdecl: Literal["struct drop_loop *", "struct drop_loop[]"], init: object = ...
    ) -> DropLoop: ...
    @overload
    def new(self, cdecl: Literal["struct exit *", "struct exit[]"], init: object = ...) -> Exit: ...
    @overload
    def new(
        self, cdecl: Literal["struct field *", "struct field[]"], init: object = ...
    ) -> Field: ...
    @overload
    def new(
        self, cdecl: Literal["struct file_identity *", "struct file_identity[]"], init: object = ...
    ) -> FileIdentity: ...
    @overload
    def new(
        self, cdecl: Literal["struct filter *", "struct filter[]"], init: object = ...
    ) -> Filter: ...
    @overload
    def new(
        self, cdecl: Literal["struct filter_step *", "struct filter_step[]"], init: object = ...
    ) -> FilterStep: ...
    @overload
    def new(
        self, cdecl: Literal["struct first *", "struct first[]"], init: object = ...
    ) -> First: ...
    @overload
    def new(
        self, cdecl: Literal["struct first_flow *", "struct first_flow[]"], init: object = ...
    ) -> FirstFlow: ...
    @overload
    def new(
        self, cdecl: Literal["struct flow_ends *", "struct flow_ends[]"], init: object = ...
    ) -> FlowEnds: ...
    @overload
    def new(
        self, cdecl: Literal["struct flow_order *", "struct flow_order[]"], init: object = ...
    ) -> FlowOrder: ...
    @overload
    def new(
        self, cdecl: Literal["struct flow_order_counts *", "struct flow_order_counts[]"], init: object = ...
    ) -> FlowOrderCounts: ...
    @overload
    def new(
        self, cdecl: Literal["struct forward_loop *", "struct forward_loop[]"], init: object = ...
    ) -> ForwardLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct frame_template *", "struct frame_template[]"], init: object = ...
    ) -> FrameTemplate: ...
    @overload
    def new(
        self, cdecl: Literal["struct generate_loop *", "struct generate_loop[]"], init: object = ...
    ) -> GenerateLoop: ...
    @overload
    def new(self, cdecl: Literal["struct hand *", "struct hand[]"], init: object = ...) -> Hand: ...
    @overload
    def new(self, cdecl: Literal["struct hop *", "struct hop[]"], init: object = ...) -> Hop: ...
    @overload
    def new(
        self, cdecl: Literal["struct impair_loop *", "struct impair_loop[]"], init: object = ...
    ) -> ImpairLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct intel_descriptor *", "struct intel_descriptor[]"], init: object = ...
    ) -> IntelDescriptor: ...
    @overload
    def new(
        self, cdecl: Literal["struct intel_queue *", "struct intel_queue[]"], init: object = ...
    ) -> IntelQueue: ...
    @overload
    def new(self, cdecl: Literal["struct lane *", "struct lane[]"], init: object = ...) -> Lane: ...
    @overload
    def new(
        self, cdecl: Literal["struct lane_filter *", "struct lane_filter[]"], init: object = ...
    ) -> LaneFilter: ...
    @overload
    def new(self, cdecl: Literal["struct line *", "struct line[]"], init: object = ...) -> Line: ...
    @overload
    def new(
        self, cdecl: Literal["struct lookup *", "struct lookup[]"], init: object = ...
    ) -> Lookup: ...
    @overload
    def new(self, cdecl: Literal["struct loss *", "struct loss[]"], init: object = ...) -> Loss: ...
    @overload
    def new(
        self, cdecl: Literal["struct losses *", "struct losses[]"], init: object = ...
    ) -> Losses: ...
    @overload
    def new(self, cdecl: Literal["struct lpm *", "struct lpm[]"], init: object = ...) -> Lpm: ...
    @overload
    def new(
        self, cdecl: Literal["struct lpm_node *", "struct lpm_node[]"], init: object = ...
    ) -> LpmNode: ...
    @overload
    def new(
        self, cdecl: Literal["struct lpm_prefixes *", "struct lpm_prefixes[]"], init: object = ...
    ) -> LpmPrefixes: ...
    @overload
    def new(
        self, cdecl: Literal["struct mac_entry *", "struct mac_entry[]"], init: object = ...
    ) -> MacEntry: ...
    @overload
    def new(
        self, cdecl: Literal["struct measure_loop *", "struct measure_loop[]"], init: object = ...
    ) -> MeasureLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct memif_descriptor *", "struct memif_descriptor[]"], init: object = ...
    ) -> MemifDescriptor: ...
    @overload
    def new(
        self, cdecl: Literal["struct memif_queue *", "struct memif_queue[]"], init: object = ...
    ) -> MemifQueue: ...
    @overload
    def new(
        self, cdecl: Literal["struct memif_region *", "struct memif_region[]"], init: object = ...
    ) -> MemifRegion: ...
    @overload
    def new(
        self, cdecl: Literal["struct memif_ring *", "struct memif_ring[]"], init: object = ...
    ) -> MemifRing: ...
    @overload
    def new(
        self, cdecl: Literal["struct merge_side *", "struct merge_side[]"], init: object = ...
    ) -> MergeSide: ...
    @overload
    def new(
        self, cdecl: Literal["struct missed *", "struct missed[]"], init: object = ...
    ) -> Missed: ...
    @overload
    def new(
        self, cdecl: Literal["struct null_queue *", "struct null_queue[]"], init: object = ...
    ) -> NullQueue: ...
    @overload
    def new(
        self, cdecl: Literal["struct order *", "struct order[]"], init: object = ...
    ) -> Order: ...
    @overload
    def new(
        self, cdecl: Literal["struct ordered_flow *", "struct ordered_flow[]"], init: object = ...
    ) -> OrderedFlow: ...
    @overload
    def new(
        self, cdecl: Literal["struct origin *", "struct origin[]"], init: object = ...
    ) -> Origin: ...
    @overload
    def new(self, cdecl: Literal["struct pace *", "struct pace[]"], init: object = ...) -> Pace: ...
    @overload
    def new(
        self, cdecl: Literal["struct pace_step *", "struct pace_step[]"], init: object = ...
    ) -> PaceStep: ...
    @overload
    def new(
        self, cdecl: Literal["struct packet *", "struct packet[]"], init: object = ...
    ) -> Packet: ...
    @overload
    def new(
        self, cdecl: Literal["struct packet_queue *", "struct packet_queue[]"], init: object = ...
    ) -> PacketQueue: ...
    @overload
    def new(
        self, cdecl: Literal["struct partial *", "struct partial[]"], init: object = ...
    ) -> Partial: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_arrival *", "struct pcap_arrival[]"], init: object = ...
    ) -> PcapArrival: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_begun *", "struct pcap_begun[]"], init: object = ...
    ) -> PcapBegun: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_block *", "struct pcap_block[]"], init: object = ...
    ) -> PcapBlock: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_bursts *", "struct pcap_bursts[]"], init: object = ...
    ) -> PcapBursts: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_chunk *", "struct pcap_chunk[]"], init: object = ...
    ) -> PcapChunk: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_columns *", "struct pcap_columns[]"], init: object = ...
    ) -> PcapColumns: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_flow *", "struct pcap_flow[]"], init: object = ...
    ) -> PcapFlow: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_flows *", "struct pcap_flows[]"], init: object = ...
    ) -> PcapFlows: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_held *", "struct pcap_held[]"], init: object = ...
    ) -> PcapHeld: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_hold *", "struct pcap_hold[]"], init: object = ...
    ) -> PcapHold: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_interface *", "struct pcap_interface[]"], init: object = ...
    ) -> PcapInterface: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_look *", "struct pcap_look[]"], init: object = ...
    ) -> PcapLook: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_move *", "struct pcap_move[]"], init: object = ...
    ) -> PcapMove: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_positions *", "struct pcap_positions[]"], init: object = ...
    ) -> PcapPositions: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_ring *", "struct pcap_ring[]"], init: object = ...
    ) -> PcapRing: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_run *", "struct pcap_run[]"], init: object = ...
    ) -> PcapRun: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_seen *", "struct pcap_seen[]"], init: object = ...
    ) -> PcapSeen: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_shared *", "struct pcap_shared[]"], init: object = ...
    ) -> PcapShared: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_sink *", "struct pcap_sink[]"], init: object = ...
    ) -> PcapSink: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_slice *", "struct pcap_slice[]"], init: object = ...
    ) -> PcapSlice: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_source *", "struct pcap_source[]"], init: object = ...
    ) -> PcapSource: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_tally *", "struct pcap_tally[]"], init: object = ...
    ) -> PcapTally: ...
    @overload
    def new(
        self, cdecl: Literal["struct pcap_window *", "struct pcap_window[]"], init: object = ...
    ) -> PcapWindow: ...
    @overload
    def new(self, cdecl: Literal["struct pool *", "struct pool[]"], init: object = ...) -> Pool: ...
    @overload
    def new(self, cdecl: Literal["struct post *", "struct post[]"], init: object = ...) -> Post: ...
    @overload
    def new(
        self, cdecl: Literal["struct profile_loop *", "struct profile_loop[]"], init: object = ...
    ) -> ProfileLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct profile_stream *", "struct profile_stream[]"], init: object = ...
    ) -> ProfileStream: ...
    @overload
    def new(
        self, cdecl: Literal["struct program_alias *", "struct program_alias[]"], init: object = ...
    ) -> ProgramAlias: ...
    @overload
    def new(
        self, cdecl: Literal["struct program_check *", "struct program_check[]"], init: object = ...
    ) -> ProgramCheck: ...
    @overload
    def new(
        self, cdecl: Literal["struct program_field *", "struct program_field[]"], init: object = ...
    ) -> ProgramField: ...
    @overload
    def new(
        self, cdecl: Literal["struct program_index *", "struct program_index[]"], init: object = ...
    ) -> ProgramIndex: ...
    @overload
    def new(
        self, cdecl: Literal["struct program_step *", "struct program_step[]"], init: object = ...
    ) -> ProgramStep: ...
    @overload
    def new(
        self, cdecl: Literal["struct qtest_link *", "struct qtest_link[]"], init: object = ...
    ) -> QtestLink: ...
    @overload
    def new(
        self, cdecl: Literal["struct queue *", "struct queue[]"], init: object = ...
    ) -> Queue: ...
    @overload
    def new(
        self, cdecl: Literal["struct queued *", "struct queued[]"], init: object = ...
    ) -> Queued: ...
    @overload
    def new(
        self, cdecl: Literal["struct reflect_loop *", "struct reflect_loop[]"], init: object = ...
    ) -> ReflectLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct replay_loop *", "struct replay_loop[]"], init: object = ...
    ) -> ReplayLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct rewrite_field *", "struct rewrite_field[]"], init: object = ...
    ) -> RewriteField: ...
    @overload
    def new(
        self, cdecl: Literal["struct rewrite_net *", "struct rewrite_net[]"], init: object = ...
    ) -> RewriteNet: ...
    @overload
    def new(
        self, cdecl: Literal["struct rewrite_port *", "struct rewrite_port[]"], init: object = ...
    ) -> RewritePort: ...
    @overload
    def new(
        self, cdecl: Literal["struct rewrite_set *", "struct rewrite_set[]"], init: object = ...
    ) -> RewriteSet: ...
    @overload
    def new(
        self, cdecl: Literal["struct rewrite_wrong *", "struct rewrite_wrong[]"], init: object = ...
    ) -> RewriteWrong: ...
    @overload
    def new(
        self, cdecl: Literal["struct route_loop *", "struct route_loop[]"], init: object = ...
    ) -> RouteLoop: ...
    @overload
    def new(self, cdecl: Literal["struct rule *", "struct rule[]"], init: object = ...) -> Rule: ...
    @overload
    def new(
        self, cdecl: Literal["struct rules_loop *", "struct rules_loop[]"], init: object = ...
    ) -> RulesLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct sandbox_step *", "struct sandbox_step[]"], init: object = ...
    ) -> SandboxStep: ...
    @overload
    def new(
        self, cdecl: Literal["struct seen_packet *", "struct seen_packet[]"], init: object = ...
    ) -> SeenPacket: ...
    @overload
    def new(
        self, cdecl: Literal["struct segments *", "struct segments[]"], init: object = ...
    ) -> Segments: ...
    @overload
    def new(
        self, cdecl: Literal["struct sent_log *", "struct sent_log[]"], init: object = ...
    ) -> SentLog: ...
    @overload
    def new(
        self, cdecl: Literal["struct sent_traffic *", "struct sent_traffic[]"], init: object = ...
    ) -> SentTraffic: ...
    @overload
    def new(
        self, cdecl: Literal["struct stack *", "struct stack[]"], init: object = ...
    ) -> Stack: ...
    @overload
    def new(
        self, cdecl: Literal["struct stream *", "struct stream[]"], init: object = ...
    ) -> Stream: ...
    @overload
    def new(
        self, cdecl: Literal["struct stream_losses *", "struct stream_losses[]"], init: object = ...
    ) -> StreamLosses: ...
    @overload
    def new(
        self, cdecl: Literal["struct switch_loop *", "struct switch_loop[]"], init: object = ...
    ) -> SwitchLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct taken *", "struct taken[]"], init: object = ...
    ) -> Taken: ...
    @overload
    def new(
        self, cdecl: Literal["struct tap_queue *", "struct tap_queue[]"], init: object = ...
    ) -> TapQueue: ...
    @overload
    def new(
        self, cdecl: Literal["struct timing *", "struct timing[]"], init: object = ...
    ) -> Timing: ...
    @overload
    def new(
        self, cdecl: Literal["struct trace *", "struct trace[]"], init: object = ...
    ) -> Trace: ...
    @overload
    def new(
        self, cdecl: Literal["struct traced *", "struct traced[]"], init: object = ...
    ) -> Traced: ...
    @overload
    def new(
        self, cdecl: Literal["struct vector *", "struct vector[]"], init: object = ...
    ) -> Vector: ...
    @overload
    def new(
        self, cdecl: Literal["struct virtq_available *", "struct virtq_available[]"], init: object = ...
    ) -> VirtqAvailable: ...
    @overload
    def new(
        self, cdecl: Literal["struct virtq_descriptor *", "struct virtq_descriptor[]"], init: object = ...
    ) -> VirtqDescriptor: ...
    @overload
    def new(
        self, cdecl: Literal["struct virtq_events *", "struct virtq_events[]"], init: object = ...
    ) -> VirtqEvents: ...
    @overload
    def new(
        self, cdecl: Literal["struct virtq_queue *", "struct virtq_queue[]"], init: object = ...
    ) -> VirtqQueue: ...
    @overload
    def new(
        self, cdecl: Literal["struct virtq_used *", "struct virtq_used[]"], init: object = ...
    ) -> VirtqUsed: ...
    @overload
    def new(
        self, cdecl: Literal["struct virtq_used_element *", "struct virtq_used_element[]"], init: object = ...
    ) -> VirtqUsedElement: ...
    @overload
    def new(
        self, cdecl: Literal["struct vmxnet3_area *", "struct vmxnet3_area[]"], init: object = ...
    ) -> Vmxnet3Area: ...
    @overload
    def new(
        self, cdecl: Literal["struct vmxnet3_completion *", "struct vmxnet3_completion[]"], init: object = ...
    ) -> Vmxnet3Completion: ...
    @overload
    def new(
        self, cdecl: Literal["struct vmxnet3_descriptor *", "struct vmxnet3_descriptor[]"], init: object = ...
    ) -> Vmxnet3Descriptor: ...
    @overload
    def new(
        self, cdecl: Literal["struct vmxnet3_queue *", "struct vmxnet3_queue[]"], init: object = ...
    ) -> Vmxnet3Queue: ...
    @overload
    def new(
        self, cdecl: Literal["struct vmxnet3_ring *", "struct vmxnet3_ring[]"], init: object = ...
    ) -> Vmxnet3Ring: ...
    @overload
    def new(
        self, cdecl: Literal["struct vmxnet3_rx_area *", "struct vmxnet3_rx_area[]"], init: object = ...
    ) -> Vmxnet3RxArea: ...
    @overload
    def new(
        self, cdecl: Literal["struct vmxnet3_tx_area *", "struct vmxnet3_tx_area[]"], init: object = ...
    ) -> Vmxnet3TxArea: ...
    @overload
    def new(
        self, cdecl: Literal["struct watch *", "struct watch[]"], init: object = ...
    ) -> Watch: ...
    @overload
    def new(
        self, cdecl: Literal["struct watch_record *", "struct watch_record[]"], init: object = ...
    ) -> WatchRecord: ...
    @overload
    def new(
        self, cdecl: Literal["struct watch_shared *", "struct watch_shared[]"], init: object = ...
    ) -> WatchShared: ...
    @overload
    def new(
        self, cdecl: Literal["struct watched_note *", "struct watched_note[]"], init: object = ...
    ) -> WatchedNote: ...
    @overload
    def new(
        self, cdecl: Literal["struct watched_queue *", "struct watched_queue[]"], init: object = ...
    ) -> WatchedQueue: ...
    @overload
    def new(self, cdecl: Literal["struct ways *", "struct ways[]"], init: object = ...) -> Ways: ...
    @overload
    def new(
        self, cdecl: Literal["struct ways_loop *", "struct ways_loop[]"], init: object = ...
    ) -> WaysLoop: ...
    @overload
    def new(
        self, cdecl: Literal["struct worker *", "struct worker[]"], init: object = ...
    ) -> Worker: ...
    @overload
    def new(
        self, cdecl: Literal["struct xdp_queue *", "struct xdp_queue[]"], init: object = ...
    ) -> XdpQueue: ...
    @overload
    def new(
        self, cdecl: Literal["struct xdp_ring *", "struct xdp_ring[]"], init: object = ...
    ) -> XdpRing: ...
    @overload
    def new(
        self, cdecl: Literal["struct xdp_slot *", "struct xdp_slot[]"], init: object = ...
    ) -> XdpSlot: ...
    @overload
    def new(self, cdecl: Literal["int8_t *", "int8_t[]"], init: object = ...) -> Pointer[int]: ...
    @overload
    def new(self, cdecl: Literal["uint8_t *", "uint8_t[]"], init: object = ...) -> Pointer[int]: ...
    @overload
    def new(self, cdecl: Literal["int16_t *", "int16_t[]"], init: object = ...) -> Pointer[int]: ...
    @overload
    def new(
        self, cdecl: Literal["uint16_t *", "uint16_t[]"], init: object = ...
    ) -> Pointer[int]: ...
    @overload
    def new(self, cdecl: Literal["int32_t *", "int32_t[]"], init: object = ...) -> Pointer[int]: ...
    @overload
    def new(
        self, cdecl: Literal["uint32_t *", "uint32_t[]"], init: object = ...
    ) -> Pointer[int]: ...
    @overload
    def new(self, cdecl: Literal["int64_t *", "int64_t[]"], init: object = ...) -> Pointer[int]: ...
    @overload
    def new(
        self, cdecl: Literal["uint64_t *", "uint64_t[]"], init: object = ...
    ) -> Pointer[int]: ...
    @overload
    def new(self, cdecl: str, init: object = ...) -> Any: ...
    @overload
    def cast(
        self, cdecl: Literal["struct answer *", "struct answer[]"], value: CData | int
    ) -> Answer: ...
    @overload
    def cast(
        self, cdecl: Literal["struct answer_net *", "struct answer_net[]"], value: CData | int
    ) -> AnswerNet: ...
    @overload
    def cast(
        self, cdecl: Literal["struct balance_loop *", "struct balance_loop[]"], value: CData | int
    ) -> BalanceLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct bottleneck *", "struct bottleneck[]"], value: CData | int
    ) -> Bottleneck: ...
    @overload
    def cast(
        self, cdecl: Literal["struct burst *", "struct burst[]"], value: CData | int
    ) -> Burst: ...
    @overload
    def cast(
        self, cdecl: Literal["struct capture_loop *", "struct capture_loop[]"], value: CData | int
    ) -> CaptureLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct child *", "struct child[]"], value: CData | int
    ) -> Child: ...
    @overload
    def cast(
        self, cdecl: Literal["struct codel *", "struct codel[]"], value: CData | int
    ) -> Codel: ...
    @overload
    def cast(
        self, cdecl: Literal["struct counters *", "struct counters[]"], value: CData | int
    ) -> Counters: ...
    @overload
    def cast(
        self, cdecl: Literal["struct dedup *", "struct dedup[]"], value: CData | int
    ) -> Dedup: ...
    @overload
    def cast(
        self, cdecl: Literal["struct delayed *", "struct delayed[]"], value: CData | int
    ) -> Delayed: ...
    @overload
    def cast(
        self, cdecl: Literal["struct delayed_queue *", "struct delayed_queue[]"], value: CData | int
    ) -> DelayedQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct divert_loop *", "struct divert_loop[]"], value: CData | int
    ) -> DivertLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct doorbell *", "struct doorbell[]"], value: CData | int
    ) -> Doorbell: ...
    @overload
    def cast(
        self, cdecl: Literal["struct drop_loop *", "struct drop_loop[]"], value: CData | int
    ) -> DropLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct exit *", "struct exit[]"], value: CData | int
    ) -> Exit: ...
    @overload
    def cast(
        self, cdecl: Literal["struct field *", "struct field[]"], value: CData | int
    ) -> Field: ...
    @overload
    def cast(
        self, cdecl: Literal["struct file_identity *", "struct file_identity[]"], value: CData | int
    ) -> FileIdentity: ...
    @overload
    def cast(
        self, cdecl: Literal["struct filter *", "struct filter[]"], value: CData | int
    ) -> Filter: ...
    @overload
    def cast(
        self, cdecl: Literal["struct filter_step *", "struct filter_step[]"], value: CData | int
    ) -> FilterStep: ...
    @overload
    def cast(
        self, cdecl: Literal["struct first *", "struct first[]"], value: CData | int
    ) -> First: ...
    @overload
    def cast(
        self, cdecl: Literal["struct first_flow *", "struct first_flow[]"], value: CData | int
    ) -> FirstFlow: ...
    @overload
    def cast(
        self, cdecl: Literal["struct flow_ends *", "struct flow_ends[]"], value: CData | int
    ) -> FlowEnds: ...
    @overload
    def cast(
        self, cdecl: Literal["struct flow_order *", "struct flow_order[]"], value: CData | int
    ) -> FlowOrder: ...
    @overload
    def cast(
        self, cdecl: Literal["struct flow_order_counts *", "struct flow_order_counts[]"], value: CData | int
    ) -> FlowOrderCounts: ...
    @overload
    def cast(
        self, cdecl: Literal["struct forward_loop *", "struct forward_loop[]"], value: CData | int
    ) -> ForwardLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct frame_template *", "struct frame_template[]"], value: CData | int
    ) -> FrameTemplate: ...
    @overload
    def cast(
        self, cdecl: Literal["struct generate_loop *", "struct generate_loop[]"], value: CData | int
    ) -> GenerateLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct hand *", "struct hand[]"], value: CData | int
    ) -> Hand: ...
    @overload
    def cast(self, cdecl: Literal["struct hop *", "struct hop[]"], value: CData | int) -> Hop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct impair_loop *", "struct impair_loop[]"], value: CData | int
    ) -> ImpairLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct intel_descriptor *", "struct intel_descriptor[]"], value: CData | int
    ) -> IntelDescriptor: ...
    @overload
    def cast(
        self, cdecl: Literal["struct intel_queue *", "struct intel_queue[]"], value: CData | int
    ) -> IntelQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct lane *", "struct lane[]"], value: CData | int
    ) -> Lane: ...
    @overload
    def cast(
        self, cdecl: Literal["struct lane_filter *", "struct lane_filter[]"], value: CData | int
    ) -> LaneFilter: ...
    @overload
    def cast(
        self, cdecl: Literal["struct line *", "struct line[]"], value: CData | int
    ) -> Line: ...
    @overload
    def cast(
        self, cdecl: Literal["struct lookup *", "struct lookup[]"], value: CData | int
    ) -> Lookup: ...
    @overload
    def cast(
        self, cdecl: Literal["struct loss *", "struct loss[]"], value: CData | int
    ) -> Loss: ...
    @overload
    def cast(
        self, cdecl: Literal["struct losses *", "struct losses[]"], value: CData | int
    ) -> Losses: ...
    @overload
    def cast(self, cdecl: Literal["struct lpm *", "struct lpm[]"], value: CData | int) -> Lpm: ...
    @overload
    def cast(
        self, cdecl: Literal["struct lpm_node *", "struct lpm_node[]"], value: CData | int
    ) -> LpmNode: ...
    @overload
    def cast(
        self, cdecl: Literal["struct lpm_prefixes *", "struct lpm_prefixes[]"], value: CData | int
    ) -> LpmPrefixes: ...
    @overload
    def cast(
        self, cdecl: Literal["struct mac_entry *", "struct mac_entry[]"], value: CData | int
    ) -> MacEntry: ...
    @overload
    def cast(
        self, cdecl: Literal["struct measure_loop *", "struct measure_loop[]"], value: CData | int
    ) -> MeasureLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct memif_descriptor *", "struct memif_descriptor[]"], value: CData | int
    ) -> MemifDescriptor: ...
    @overload
    def cast(
        self, cdecl: Literal["struct memif_queue *", "struct memif_queue[]"], value: CData | int
    ) -> MemifQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct memif_region *", "struct memif_region[]"], value: CData | int
    ) -> MemifRegion: ...
    @overload
    def cast(
        self, cdecl: Literal["struct memif_ring *", "struct memif_ring[]"], value: CData | int
    ) -> MemifRing: ...
    @overload
    def cast(
        self, cdecl: Literal["struct merge_side *", "struct merge_side[]"], value: CData | int
    ) -> MergeSide: ...
    @overload
    def cast(
        self, cdecl: Literal["struct missed *", "struct missed[]"], value: CData | int
    ) -> Missed: ...
    @overload
    def cast(
        self, cdecl: Literal["struct null_queue *", "struct null_queue[]"], value: CData | int
    ) -> NullQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct order *", "struct order[]"], value: CData | int
    ) -> Order: ...
    @overload
    def cast(
        self, cdecl: Literal["struct ordered_flow *", "struct ordered_flow[]"], value: CData | int
    ) -> OrderedFlow: ...
    @overload
    def cast(
        self, cdecl: Literal["struct origin *", "struct origin[]"], value: CData | int
    ) -> Origin: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pace *", "struct pace[]"], value: CData | int
    ) -> Pace: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pace_step *", "struct pace_step[]"], value: CData | int
    ) -> PaceStep: ...
    @overload
    def cast(
        self, cdecl: Literal["struct packet *", "struct packet[]"], value: CData | int
    ) -> Packet: ...
    @overload
    def cast(
        self, cdecl: Literal["struct packet_queue *", "struct packet_queue[]"], value: CData | int
    ) -> PacketQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct partial *", "struct partial[]"], value: CData | int
    ) -> Partial: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_arrival *", "struct pcap_arrival[]"], value: CData | int
    ) -> PcapArrival: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_begun *", "struct pcap_begun[]"], value: CData | int
    ) -> PcapBegun: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_block *", "struct pcap_block[]"], value: CData | int
    ) -> PcapBlock: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_bursts *", "struct pcap_bursts[]"], value: CData | int
    ) -> PcapBursts: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_chunk *", "struct pcap_chunk[]"], value: CData | int
    ) -> PcapChunk: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_columns *", "struct pcap_columns[]"], value: CData | int
    ) -> PcapColumns: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_flow *", "struct pcap_flow[]"], value: CData | int
    ) -> PcapFlow: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_flows *", "struct pcap_flows[]"], value: CData | int
    ) -> PcapFlows: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_held *", "struct pcap_held[]"], value: CData | int
    ) -> PcapHeld: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_hold *", "struct pcap_hold[]"], value: CData | int
    ) -> PcapHold: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_interface *", "struct pcap_interface[]"], value: CData | int
    ) -> PcapInterface: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_look *", "struct pcap_look[]"], value: CData | int
    ) -> PcapLook: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_move *", "struct pcap_move[]"], value: CData | int
    ) -> PcapMove: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_positions *", "struct pcap_positions[]"], value: CData | int
    ) -> PcapPositions: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_ring *", "struct pcap_ring[]"], value: CData | int
    ) -> PcapRing: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_run *", "struct pcap_run[]"], value: CData | int
    ) -> PcapRun: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_seen *", "struct pcap_seen[]"], value: CData | int
    ) -> PcapSeen: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_shared *", "struct pcap_shared[]"], value: CData | int
    ) -> PcapShared: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_sink *", "struct pcap_sink[]"], value: CData | int
    ) -> PcapSink: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_slice *", "struct pcap_slice[]"], value: CData | int
    ) -> PcapSlice: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_source *", "struct pcap_source[]"], value: CData | int
    ) -> PcapSource: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_tally *", "struct pcap_tally[]"], value: CData | int
    ) -> PcapTally: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pcap_window *", "struct pcap_window[]"], value: CData | int
    ) -> PcapWindow: ...
    @overload
    def cast(
        self, cdecl: Literal["struct pool *", "struct pool[]"], value: CData | int
    ) -> Pool: ...
    @overload
    def cast(
        self, cdecl: Literal["struct post *", "struct post[]"], value: CData | int
    ) -> Post: ...
    @overload
    def cast(
        self, cdecl: Literal["struct profile_loop *", "struct profile_loop[]"], value: CData | int
    ) -> ProfileLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct profile_stream *", "struct profile_stream[]"], value: CData | int
    ) -> ProfileStream: ...
    @overload
    def cast(
        self, cdecl: Literal["struct program_alias *", "struct program_alias[]"], value: CData | int
    ) -> ProgramAlias: ...
    @overload
    def cast(
        self, cdecl: Literal["struct program_check *", "struct program_check[]"], value: CData | int
    ) -> ProgramCheck: ...
    @overload
    def cast(
        self, cdecl: Literal["struct program_field *", "struct program_field[]"], value: CData | int
    ) -> ProgramField: ...
    @overload
    def cast(
        self, cdecl: Literal["struct program_index *", "struct program_index[]"], value: CData | int
    ) -> ProgramIndex: ...
    @overload
    def cast(
        self, cdecl: Literal["struct program_step *", "struct program_step[]"], value: CData | int
    ) -> ProgramStep: ...
    @overload
    def cast(
        self, cdecl: Literal["struct qtest_link *", "struct qtest_link[]"], value: CData | int
    ) -> QtestLink: ...
    @overload
    def cast(
        self, cdecl: Literal["struct queue *", "struct queue[]"], value: CData | int
    ) -> Queue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct queued *", "struct queued[]"], value: CData | int
    ) -> Queued: ...
    @overload
    def cast(
        self, cdecl: Literal["struct reflect_loop *", "struct reflect_loop[]"], value: CData | int
    ) -> ReflectLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct replay_loop *", "struct replay_loop[]"], value: CData | int
    ) -> ReplayLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct rewrite_field *", "struct rewrite_field[]"], value: CData | int
    ) -> RewriteField: ...
    @overload
    def cast(
        self, cdecl: Literal["struct rewrite_net *", "struct rewrite_net[]"], value: CData | int
    ) -> RewriteNet: ...
    @overload
    def cast(
        self, cdecl: Literal["struct rewrite_port *", "struct rewrite_port[]"], value: CData | int
    ) -> RewritePort: ...
    @overload
    def cast(
        self, cdecl: Literal["struct rewrite_set *", "struct rewrite_set[]"], value: CData | int
    ) -> RewriteSet: ...
    @overload
    def cast(
        self, cdecl: Literal["struct rewrite_wrong *", "struct rewrite_wrong[]"], value: CData | int
    ) -> RewriteWrong: ...
    @overload
    def cast(
        self, cdecl: Literal["struct route_loop *", "struct route_loop[]"], value: CData | int
    ) -> RouteLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct rule *", "struct rule[]"], value: CData | int
    ) -> Rule: ...
    @overload
    def cast(
        self, cdecl: Literal["struct rules_loop *", "struct rules_loop[]"], value: CData | int
    ) -> RulesLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct sandbox_step *", "struct sandbox_step[]"], value: CData | int
    ) -> SandboxStep: ...
    @overload
    def cast(
        self, cdecl: Literal["struct seen_packet *", "struct seen_packet[]"], value: CData | int
    ) -> SeenPacket: ...
    @overload
    def cast(
        self, cdecl: Literal["struct segments *", "struct segments[]"], value: CData | int
    ) -> Segments: ...
    @overload
    def cast(
        self, cdecl: Literal["struct sent_log *", "struct sent_log[]"], value: CData | int
    ) -> SentLog: ...
    @overload
    def cast(
        self, cdecl: Literal["struct sent_traffic *", "struct sent_traffic[]"], value: CData | int
    ) -> SentTraffic: ...
    @overload
    def cast(
        self, cdecl: Literal["struct stack *", "struct stack[]"], value: CData | int
    ) -> Stack: ...
    @overload
    def cast(
        self, cdecl: Literal["struct stream *", "struct stream[]"], value: CData | int
    ) -> Stream: ...
    @overload
    def cast(
        self, cdecl: Literal["struct stream_losses *", "struct stream_losses[]"], value: CData | int
    ) -> StreamLosses: ...
    @overload
    def cast(
        self, cdecl: Literal["struct switch_loop *", "struct switch_loop[]"], value: CData | int
    ) -> SwitchLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct taken *", "struct taken[]"], value: CData | int
    ) -> Taken: ...
    @overload
    def cast(
        self, cdecl: Literal["struct tap_queue *", "struct tap_queue[]"], value: CData | int
    ) -> TapQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct timing *", "struct timing[]"], value: CData | int
    ) -> Timing: ...
    @overload
    def cast(
        self, cdecl: Literal["struct trace *", "struct trace[]"], value: CData | int
    ) -> Trace: ...
    @overload
    def cast(
        self, cdecl: Literal["struct traced *", "struct traced[]"], value: CData | int
    ) -> Traced: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vector *", "struct vector[]"], value: CData | int
    ) -> Vector: ...
    @overload
    def cast(
        self, cdecl: Literal["struct virtq_available *", "struct virtq_available[]"], value: CData | int
    ) -> VirtqAvailable: ...
    @overload
    def cast(
        self, cdecl: Literal["struct virtq_descriptor *", "struct virtq_descriptor[]"], value: CData | int
    ) -> VirtqDescriptor: ...
    @overload
    def cast(
        self, cdecl: Literal["struct virtq_events *", "struct virtq_events[]"], value: CData | int
    ) -> VirtqEvents: ...
    @overload
    def cast(
        self, cdecl: Literal["struct virtq_queue *", "struct virtq_queue[]"], value: CData | int
    ) -> VirtqQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct virtq_used *", "struct virtq_used[]"], value: CData | int
    ) -> VirtqUsed: ...
    @overload
    def cast(
        self, cdecl: Literal["struct virtq_used_element *", "struct virtq_used_element[]"], value: CData | int
    ) -> VirtqUsedElement: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vmxnet3_area *", "struct vmxnet3_area[]"], value: CData | int
    ) -> Vmxnet3Area: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vmxnet3_completion *", "struct vmxnet3_completion[]"], value: CData | int
    ) -> Vmxnet3Completion: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vmxnet3_descriptor *", "struct vmxnet3_descriptor[]"], value: CData | int
    ) -> Vmxnet3Descriptor: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vmxnet3_queue *", "struct vmxnet3_queue[]"], value: CData | int
    ) -> Vmxnet3Queue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vmxnet3_ring *", "struct vmxnet3_ring[]"], value: CData | int
    ) -> Vmxnet3Ring: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vmxnet3_rx_area *", "struct vmxnet3_rx_area[]"], value: CData | int
    ) -> Vmxnet3RxArea: ...
    @overload
    def cast(
        self, cdecl: Literal["struct vmxnet3_tx_area *", "struct vmxnet3_tx_area[]"], value: CData | int
    ) -> Vmxnet3TxArea: ...
    @overload
    def cast(
        self, cdecl: Literal["struct watch *", "struct watch[]"], value: CData | int
    ) -> Watch: ...
    @overload
    def cast(
        self, cdecl: Literal["struct watch_record *", "struct watch_record[]"], value: CData | int
    ) -> WatchRecord: ...
    @overload
    def cast(
        self, cdecl: Literal["struct watch_shared *", "struct watch_shared[]"], value: CData | int
    ) -> WatchShared: ...
    @overload
    def cast(
        self, cdecl: Literal["struct watched_note *", "struct watched_note[]"], value: CData | int
    ) -> WatchedNote: ...
    @overload
    def cast(
        self, cdecl: Literal["struct watched_queue *", "struct watched_queue[]"], value: CData | int
    ) -> WatchedQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct ways *", "struct ways[]"], value: CData | int
    ) -> Ways: ...
    @overload
    def cast(
        self, cdecl: Literal["struct ways_loop *", "struct ways_loop[]"], value: CData | int
    ) -> WaysLoop: ...
    @overload
    def cast(
        self, cdecl: Literal["struct worker *", "struct worker[]"], value: CData | int
    ) -> Worker: ...
    @overload
    def cast(
        self, cdecl: Literal["struct xdp_queue *", "struct xdp_queue[]"], value: CData | int
    ) -> XdpQueue: ...
    @overload
    def cast(
        self, cdecl: Literal["struct xdp_ring *", "struct xdp_ring[]"], value: CData | int
    ) -> XdpRing: ...
    @overload
    def cast(
        self, cdecl: Literal["struct xdp_slot *", "struct xdp_slot[]"], value: CData | int
    ) -> XdpSlot: ...
    @overload
    def cast(self, cdecl: Literal["int8_t *", "int8_t[]"], value: CData | int) -> Pointer[int]: ...
    @overload
    def cast(
        self, cdecl: Literal["uint8_t *", "uint8_t[]"], value: CData | int
    ) -> Pointer[int]: ...
    @overload
    def cast(
        self, cdecl: Literal["int16_t *", "int16_t[]"], value: CData | int
    ) -> Pointer[int]: ...
    @overload
    def cast(
        self, cdecl: Literal["uint16_t *", "uint16_t[]"], value: CData | int
    ) -> Pointer[int]: ...
    @overload
    def cast(
        self, cdecl: Literal["int32_t *", "int32_t[]"], value: CData | int
    ) -> Pointer[int]: ...
    @overload
    def cast(
        self, cdecl: Literal["uint32_t *", "uint32_t[]"], value: CData | int
    ) -> Pointer[int]: ...
    @overload
    def cast(
        self, cdecl: Literal["int64_t *", "int64_t[]"], value: CData | int
    ) -> Pointer[int]: ...
    @overload
    def cast(
        self, cdecl: Literal["uint64_t *", "uint64_t[]"], value: CData | int
    ) -> Pointer[int]: ...
    @overload
    def cast(self, cdecl: str, value: CData | int) -> Any: ...
    @overload
    def from_buffer(self, memory: ReadableBuffer) -> Pointer[Octets]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["int8_t *", "int8_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["uint8_t *", "uint8_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["int16_t *", "int16_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["uint16_t *", "uint16_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["int32_t *", "int32_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["uint32_t *", "uint32_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["int64_t *", "int64_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: Literal["uint64_t *", "uint64_t[]"], memory: ReadableBuffer, require_writable: bool = ...
    ) -> Pointer[int]: ...
    @overload
    def from_buffer(
        self, cdecl: str, memory: ReadableBuffer, require_writable: bool = ...
    ) -> Any: ...

ffi: FFI
lib: Lib
