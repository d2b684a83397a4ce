# SPDX-License-Identifier: Apache-2.0
"""Which packets were lost, and for how long: what C finds out (fastpath/loops/lost.h)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from uspnet.answer import Json
from uspnet.errors import Usage
from uspnet.fastpath import c, ffi, lib
from uspnet.fastpath.owned import Owned
from uspnet.jobs.returned import FlowLoss, Loss, LostFile
from uspnet.memory import new
from uspnet.packets.fields.program import Program

if TYPE_CHECKING:
    from uspnet.fastpath._fastpath import Loss as CLoss
    from uspnet.fastpath._fastpath import SentLog, Stream
    from uspnet.jobs.traffic import CTemplates, Traffic
    from uspnet.packets.fields.field import Field
    from uspnet.ports.pcap.sink import Sink

WINDOW = 65536  # numbers that may still come, as in C
LOGGED = 1 << 21  # packets of all streams together that the log keeps, at 20 bytes each
FLOWS_SHOWN = 10
LOGGED_MIN = 4 * WINDOW  # the same, of each stream


class Losses:
    """The losses of a run. `streams`: sending queues, each with numbers of its own. `sink`: the
    file that lost packets are written to, made once more. Lives as long as the job.
    """

    def __init__(self, streams: int, sink: Sink | None = None) -> None:
        self.sink = sink
        self.c = new("struct losses *")
        self._owned = Owned()
        self._streams = new("struct stream_losses[]", streams)
        self._rows = new("struct loss[]", lib.LOSSES_KEPT)
        self.c.streams, self.c.n_streams, self.c.rows = self._streams, streams, self._rows
        for each in self._streams:
            each.times = self._owned.keep(new("uint64_t[]", WINDOW))
        self.logs: SentLog = ffi.NULL
        self._by_template: c.Pointer[int] = ffi.NULL
        self._by_flow: c.Pointer[int] = ffi.NULL
        self._lengths: list[int] = []  # of the templates
        self._name_flow: Callable[[int], str] = str
        self._began = 0
        if sink:
            self._log(streams)

    def _log(self, streams: int) -> None:
        """Make room for what packets are made from."""
        room = max(1 << (LOGGED // streams).bit_length() - 1, LOGGED_MIN)
        self.logs = new("struct sent_log[]", streams)
        keep = self._owned.keep
        for log, each in zip(self.logs, self._streams, strict=True):
            log.times, log.turns = keep(new("uint64_t[]", room)), keep(new("uint64_t[]", room))
            log.places, log.room = keep(new("uint32_t[]", room)), room
            each.marks = keep(new("uint64_t[]", room // 64))

    def take(self, templates: CTemplates, traffic: Traffic) -> None:
        """Note what packets are made from once more. Raises Usage for what can't be repeated."""
        if self.sink and (len(traffic.fields) > 1 or not all(f.repeats for f in traffic.fields)):
            names = ", ".join(dict.fromkeys(each.name for each in traffic.fields))
            text = f"--lost: what {names} writes can't be made once more"
            raise Usage(text, "send packets of one kind, vary other fields, or drop --lost")
        c = self.c
        c.templates, c.n_templates = templates.c, templates.count
        c.order, c.n_order = templates.order, templates.cycle
        c.stamp_at, c.secret = templates.stamp_at, templates.secret
        self._by_template = c.by_template = new("uint64_t[]", templates.count)
        self._lengths = [len(each.frame) for each in traffic.templates]
        if self.sink:
            self._take_flows(traffic.fields)

    def _take_flows(self, fields: Sequence[Field]) -> None:
        """Note which flows there are."""
        programs = [each for each in fields if isinstance(each, Program)]
        for program in programs:
            if not program.flow:
                continue
            indexes = [index for index, _ in program.groups]
            self.c.flow_index, self.c.n_flows = indexes.index(program.flow), program.flow.count
            self._by_flow = self.c.by_flow = new("uint64_t[]", program.flow.count)
            self._name_flow = program.name_flow

    def follow(
        self,
        first: int,
        streams: Stream,
        fields: Sequence[c.Struct],
        again: Sequence[c.Struct],
    ) -> SentLog:
        """Follow a sender, whose streams begin with number `first` of all. `fields`: what it
        applies; `again`: the same, to be applied here. Return where it logs what it sends; NULL:
        nowhere.
        """
        for number in range(len(streams)):
            each = self._streams[first + number]
            each.sender = ffi.addressof(streams, number)
            if self.logs:
                self._pair(first + number, fields, again)
        return self.logs + first if self.logs else ffi.NULL

    def _pair(self, number: int, fields: Sequence[c.Struct], again: Sequence[c.Struct]) -> None:
        each, log = self._streams[number], self.logs[number]
        each.log = ffi.addressof(self.logs, number)
        if fields:
            log.turn = ffi.addressof(fields[-1], "next")
            each.turn = ffi.addressof(again[-1], "next")
            each.fields = ffi.cast("struct field *", again[-1])

    def begin(self) -> None:
        """Note that the run begins now."""
        self._began = time.monotonic_ns()
        self.c.epoch = time.time_ns() - self._began
        for each in self._streams:
            each.before = self._began

    def as_json(self, *, final: bool) -> Json:
        """Return the fields of a result: all that are known, or the longest loss alone."""
        made = int(self.c.made)
        longest = self._loss(self.c.longest[self.c.which & 1]) if made else None
        kept = range(min(made, lib.LOSSES_KEPT)) if final else ()
        losses = [self._loss(self._rows[number]) for number in kept]
        if longest and final and longest not in losses:
            losses.append(longest)
        return {
            "losses": tuple(losses),
            "losses_left_out": made - len(losses),
            "longest_loss": longest,
            "lost_file": self._file(),
            "lost_by_size": self._sizes(),
            **(self._flows() if self._by_flow and final else {}),
        }

    def _sizes(self) -> dict[str, int]:
        """Return the packets written by their length."""
        sizes = Counter[int]()
        for length, packets in zip(self._lengths, self._by_template, strict=True):
            sizes[length] += int(packets)
        return {str(length): sizes[length] for length in sorted(sizes) if sizes[length]}

    def _flows(self) -> Json:
        """Return the packets written by their flows, those with most of them first."""
        counts = [(int(packets), number) for number, packets in enumerate(self._by_flow) if packets]
        worst = sorted(counts, key=lambda pair: (-pair[0], pair[1]))[:FLOWS_SHOWN]
        rows = [
            FlowLoss(flow=self._name_flow(number), packets=packets) for packets, number in worst
        ]
        return {"lost_by_flow": tuple(rows), "flows_with_losses": len(counts)}

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
            first=int(row.first),
            last=int(row.first) + int(row.packets) - 1,
            packets=int(row.packets),
            begins_s=max(int(row.before) - self._began, 0) / 1e9,
            duration_s=max(int(row.after) - int(row.before), 0) / 1e9,
            ended=bool(row.ended),
        )
