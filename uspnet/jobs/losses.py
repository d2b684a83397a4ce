# SPDX-License-Identifier: Apache-2.0
"""Which packets were lost, and for how long: what C finds out (fastpath/loops/lost.h)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.jobs.returned import FlowLoss, Loss, LostFile
from uspnet.memory import new
from uspnet.packets.fields.program import Index, Program

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Loss as CLoss
    from uspnet.fastpath._fastpath import SentLog, Stream
    from uspnet.jobs.traffic import CTemplates, Traffic
    from uspnet.ports.pcap.sink import Sink

WINDOW = 65536  # numbers that may still come, as in C
LOGGED = 1 << 21  # packets of all streams together that the log keeps, at 20 bytes each
FLOWS_SHOWN = 10
LOGGED_MIN = 4 * WINDOW  # the same, of each stream


class SentTraffic:
    """What lost packets are made from once more, and how many of them were: the C side of traffic,
    without what `repeats` says. `name`: of its stream in a profile.
    """

    def __init__(self, templates: CTemplates, traffic: Traffic, name: str | None) -> None:
        self.name = name
        self.by_template = new("uint64_t[]", templates.count)
        self.by_flow: c.Pointer[int] = ffi.NULL
        self._lengths = [len(each.frame) for each in traffic.templates]
        self._program: Program | None = None
        self.c = new("struct sent_traffic *")
        self.c.templates, self.c.n_templates = templates.c, templates.count
        self.c.order, self.c.n_order = templates.order, templates.cycle
        self.c.stamp_at, self.c.by_template = templates.stamp_at, self.by_template
        for each in traffic.fields:  # of several kinds of packets, all have the same flows
            if isinstance(each, Program) and each.flow:
                self._take_flows(each, each.flow)

    def _take_flows(self, program: Program, flow: Index) -> None:
        """Note which flows there are: those of a program's index."""
        self._program = program
        self.by_flow = self.c.by_flow = new("uint64_t[]", flow.count)
        self.c.flow_index = [index for index, _ in program.groups].index(flow)
        self.c.n_flows = flow.count

    def sizes(self) -> Counter[int]:
        """Return the packets written by their length."""
        sizes = Counter[int]()
        for length, packets in zip(self._lengths, self.by_template, strict=True):
            sizes[length] += int(packets)
        return sizes

    def flows(self) -> list[tuple[int, int]]:
        """Return the packets written of each flow of which some were, and its number."""
        pairs = enumerate(self.by_flow) if self.by_flow else ()
        return [(int(packets), number) for number, packets in pairs if packets]

    def flow(self, packets: int, number: int) -> FlowLoss:
        """Return a flow by its name."""
        name = self._program.name_flow(number) if self._program else str(number)
        return FlowLoss(flow=name, packets=packets, stream=self.name)


def check_repeats(traffic: Traffic) -> None:
    """Raise Usage for packets that can't be made once more."""
    if not all(each.repeats for each in traffic.fields):
        names = ", ".join(dict.fromkeys(each.name for each in traffic.fields))
        text = f"--lost: what {names} writes can't be made once more"
        raise Usage(text, "vary other fields, or drop --lost")


class Losses:
    """The losses of a run. `streams`: each has numbers of its own. `sink`: the file that lost
    packets are written to, made once more; `secret`: of their signatures. Lives as long as the job.
    """

    def __init__(self, streams: int, sink: Sink | None = None, secret: int = 0) -> None:
        self.sink = sink
        self.c = new("struct losses *")
        self._owned = Owned()
        keep = self._owned.keep
        self._streams = new("struct stream_losses[]", streams)
        self._rows = new("struct loss[]", lib.LOSSES_KEPT)
        self.c.streams, self.c.n_streams, self.c.rows = self._streams, streams, self._rows
        self.c.secret = secret
        times = keep(new("uint64_t[]", WINDOW * streams))
        for number, each in enumerate(self._streams):
            each.times = times + number * WINDOW
        self.logs: SentLog = ffi.NULL
        self._names: dict[int, str] = {}
        self._sent: list[SentTraffic] = []
        self._began = 0
        if sink:
            self._log(streams)

    def _log(self, streams: int) -> None:
        """Make room for what packets are made from."""
        room = max(1 << (LOGGED // streams).bit_length() - 1, LOGGED_MIN)
        self.logs = new("struct sent_log[]", streams)
        keep, words = self._owned.keep, room // 64
        times, turns = (keep(new("uint64_t[]", room * streams)) for _ in range(2))
        places = keep(new("uint32_t[]", room * streams))
        marks = keep(new("uint64_t[]", words * streams))
        for number, each in enumerate(self._streams):
            log, first = self.logs[number], number * room
            log.times, log.turns, log.places = times + first, turns + first, places + first
            log.room, each.marks = room, marks + number * words

    def take(self, templates: CTemplates, traffic: Traffic, name: str | None = None) -> SentTraffic:
        """Note what packets are made from once more. Raise Usage for what can't be repeated."""
        if self.sink:
            check_repeats(traffic)
        self._sent.append(SentTraffic(templates, traffic, name))
        return self._sent[-1]

    def follow(
        self,
        first: int,
        streams: Stream,
        sent: SentTraffic,
        fields: Sequence[c.Struct],
        again: Sequence[c.Struct],
    ) -> SentLog:
        """Follow a sender of this traffic, whose streams begin with number `first` of all.
        `fields`: what it applies; `again`: the same, to be applied here. Return where it logs what
        it sends; NULL: nowhere.
        """
        counters = [ffi.addressof(each, "next") for each in again] if self.logs else []
        turns = self._owned.keep(new("uint64_t *[]", counters)) if counters else ffi.NULL
        for number in range(len(streams)):
            each = self._streams[first + number]
            each.sender, each.traffic = ffi.addressof(streams, number), sent.c
            if sent.name is not None:
                self._names[first + number] = sent.name
            if self.logs:
                each.log, each.turns, each.n_turns = self.logs + first + number, turns, len(again)
            if counters:
                each.log.turn = ffi.addressof(fields[-1], "next")
                each.fields = ffi.cast("struct field *", again[-1])
        return self.logs + first if self.logs else ffi.NULL

    def begin(self) -> None:
        """Note that the run begins now."""
        self._began = time.monotonic_ns()
        self.c.epoch = time.time_ns() - self._began
        for each in self._streams:
            each.before = self._began

    def end(self) -> None:
        """Note that all has been sent."""
        self.c.ends = self.c.ends or time.monotonic_ns()

    def as_json(self, *, final: bool) -> Json:
        """Return the fields of a result: all that are known, or the longest loss alone."""
        made = int(self.c.made)
        longest = self._loss(self.c.longest[self.c.which & 1]) if made else None
        kept = range(min(made, lib.LOSSES_KEPT)) if final else ()
        losses = [self._loss(self._rows[number]) for number in kept]
        if longest and final and longest not in losses:
            losses.append(longest)
        sizes = sum((each.sizes() for each in self._sent), Counter[int]())
        return {
            "losses": tuple(losses),
            "losses_left_out": made - len(losses),
            "longest_loss": longest,
            "lost_file": self._file(),
            "lost_by_size": {str(length): sizes[length] for length in sorted(sizes)},
            **(self._flows() if final and any(each.by_flow for each in self._sent) else {}),
        }

    def _flows(self) -> Json:
        """Return the packets written by their flows, those with most of them first."""
        found = [[(each, *pair) for pair in each.flows()] for each in self._sent]
        flows = list(chain.from_iterable(found))
        flows.sort(key=lambda row: -row[1])  # those of one stream stand by their numbers
        rows = [sent.flow(packets, number) for sent, packets, number in flows[:FLOWS_SHOWN]]
        return {"lost_by_flow": tuple(rows), "flows_with_losses": len(flows)}

    def _file(self) -> LostFile | None:
        if not self.sink:
            return None
        written = sum(int(queue.counters.packets) for queue in self.sink.made)
        return LostFile(
            file=self.sink.path,
            written=written,
            not_written=max(sum(int(each.lost) for each in self._streams) - written, 0),
        )

    def _loss(self, row: CLoss) -> Loss:
        return Loss(
            queue=int(row.stream),
            stream=self._names.get(int(row.stream)),
            first=int(row.first),
            last=int(row.first) + int(row.packets) - 1,
            packets=int(row.packets),
            begins_s=max(int(row.before) - self._began, 0) / 1e9,
            duration_s=max(int(row.after) - int(row.before), 0) / 1e9,
            ended=bool(row.ended),
        )
