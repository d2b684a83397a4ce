# SPDX-License-Identifier: Apache-2.0
"""The learning bridge against a model of it, frame by frame."""

from __future__ import annotations

import collections
import random
import struct
import time

from tests.support.identity import ran
from tests.support.script import Script
from tests.support.tiers import by_tier
from tests.support.wire import Wire
from uspnet.cli.views.modes import decided
from uspnet.jobs.forward.job import Forwarding, ForwardJob
from uspnet.jobs.forward.result import seems_loop
from uspnet.jobs.plan import Limits

EVERYBODY = b"\xff" * 6
HARMLESS = ["0180c2000000", "0180c2000010", "01005e000001", "0180c2000100"]  # groups as any other

PAUSE, *_ = LINK_LOCAL = ["0180c2000001", "0180c200000e", "0180c200000f"]


def mac(number):
    return b"\x02" + number.to_bytes(5, "big")


def frame(to, source, number, tag=None, kind=0x8100):
    tagged = struct.pack("!HH", kind, tag) if tag is not None else b""
    return to + source + tagged + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(42)


def run(script, **options):
    limits = Limits(burst=random.Random(len(script.steps)).randint(1, 64))
    with ForwardJob(script.ports, limits, Forwarding("switch", options=options)) as job:
        return ran(job.run())


class Model:
    """What a bridge does, in a few lines of Python."""

    def __init__(self, ports):
        self.table, self.taken = {}, [[] for _ in range(ports)]
        self.drops, self.counts = collections.Counter(), collections.Counter()

    def take(self, port, data):
        to, source, vlan = data[:6], data[6:12], 0
        if len(data) < 14 or not any(source) or source[0] & 1:
            self.drops["bad_source"] += 1
            return
        if data[12:14] in (b"\x81\x00", b"\x88\xa8") and len(data) >= 16:
            vlan = int.from_bytes(data[14:16], "big") & 0xFFF
        if self.table.get((vlan, source), port) != port and to.hex() != PAUSE:
            self.counts["moved"] += 1
        if to.hex() != PAUSE:
            self.table[vlan, source] = port
        if to[:5] == bytes.fromhex("0180c20000") and 1 <= to[5] <= 15:
            self.drops["link_local"] += 1
        elif to[0] & 1 or (vlan, to) not in self.table:
            self.counts["flooded"] += 1
            for number, taken in enumerate(self.taken):
                if number != port:
                    taken.append(data)
        elif self.table[vlan, to] == port:
            self.drops["same_port"] += 1
        else:
            self.taken[self.table[vlan, to]].append(data)


def drawn(noise, number):
    """A frame of few addresses and VLANs, so that they meet; some are wrong."""
    groups = [EVERYBODY, *map(bytes.fromhex, HARMLESS), *map(bytes.fromhex, LINK_LOCAL)]
    to = noise.choice(groups) if noise.random() < 0.2 else mac(noise.randrange(40))
    source = mac(noise.randrange(30))
    if noise.random() < 0.02:
        source = noise.choice([bytes(6), EVERYBODY, b"\x03" + bytes(5)])
    tag = noise.choice([None, None, 1, 2, 0xE001, 0x1000])
    made = frame(to, source, number, tag, noise.choice([0x8100, 0x88A8]))
    return made[: noise.choice([13, 14, 15, 16, 18])] if noise.random() < 0.05 else made


def test_a_bridge_among_several_ports_does_as_its_model():
    for seed, ports in enumerate((2, 3, 5, 16)):
        noise, model = random.Random(seed), Model(ports)
        steps = []
        for number in range(by_tier(1500, 3000, 100_000)):
            same = steps and noise.random() < 0.7
            steps.append((steps[-1][0] if same else noise.randrange(ports), drawn(noise, number)))
        script = Script(ports, steps)
        result = run(script)
        for port, data in steps:
            model.take(port, data)
        assert [port.taken for port in script.ports] == model.taken
        assert result.drops == model.drops
        told = result.switch
        assert (told.moved, told.flooded) == (model.counts["moved"], model.counts["flooded"])
        assert (told.macs, told.unlearned) == (len(model.table), 0)
        assert result.copied == sum(map(len, model.taken)) - sum(
            port.rx_packets for port in result.ports
        )


def test_many_addresses_are_all_known():
    count = by_tier(10_000, 30_000, 100_000)
    there = [(0, frame(EVERYBODY, mac(number), number)) for number in range(count)]
    back = [(1, frame(mac(number), mac(count), number)) for number in range(count)]
    script = Script(3, there + back)
    result = run(script, macs=count)
    assert (result.switch.macs, result.switch.unlearned) == (count + 1, 0)
    assert result.switch.flooded == count
    assert script.ports[0].taken == [data for _, data in back]
    assert len(script.ports[2].taken) == count


def test_a_full_table_floods_what_it_has_no_place_for():
    steps = [(0, frame(EVERYBODY, mac(number), number)) for number in range(10)]
    steps += [(1, frame(mac(9), mac(0), 10)), (0, frame(mac(0), mac(1), 11))]
    script = Script(3, steps)
    result = run(script, macs=1)  # two places: of ten addresses, eight find none
    assert (result.switch.macs, result.switch.unlearned, result.switch.moved) == (2, 8, 1)
    assert result.switch.flooded == len(script.ports[2].taken) == 11
    assert script.ports[1].taken[-1] == steps[-1][1]


def test_an_address_that_was_not_seen_for_long_is_forgotten_and_its_place_used_again():
    steps = [(0, frame(EVERYBODY, mac(0), 0)), (0, frame(EVERYBODY, mac(1), 1))]
    steps += [lambda: time.sleep(0.2), (1, frame(mac(0), mac(2), 2)), (1, frame(mac(0), mac(3), 3))]
    script = Script(3, steps)
    result = run(script, macs=1, age=0.01)
    assert (result.switch.unlearned, result.switch.flooded) == (0, 4)
    assert len(script.ports[2].taken) == 4


def test_an_address_behind_a_port_that_went_down_is_looked_for_elsewhere():
    def down():
        for queue in script.ports[1].made:
            queue.base.closed = queue.direction == "tx"

    steps = [(1, frame(EVERYBODY, mac(1), 0)), down, (0, frame(mac(1), mac(2), 1))]
    script = Script(3, steps)
    result = run(script)
    assert script.ports[2].taken == [steps[0][1], steps[2][1]]
    assert (result.dropped, result.switch.flooded) == (0, 2)
    script = Script(2, [steps[0], down, *steps[2:]])
    assert run(script).drops == {"down": 1}, "there is nowhere else"


def test_floods_are_limited_and_what_is_known_passes():
    steps = [(0, frame(EVERYBODY, mac(1), number)) for number in range(1000)]
    steps += [(1, frame(mac(1), mac(2), number)) for number in range(1000)]
    script = Script(3, steps)
    result = run(script, storm_limit=50)
    assert script.ports[0].taken == [data for port, data in steps if port == 1]
    flooded = result.switch.flooded
    assert 6 <= flooded <= 7 + 50 * result.elapsed_s
    assert result.drops == {"policed": 1000 - flooded}
    assert len(script.ports[2].taken) == flooded


def test_a_port_that_only_takes_gets_floods_and_one_that_only_gives_none():
    source, sink = Wire([frame(EVERYBODY, mac(1), 1), frame(mac(2), mac(1), 2)]), Wire()
    source.can_send, sink.can_receive = False, False
    with ForwardJob([source, sink], Limits(), Forwarding("switch")) as job:
        result = ran(job.run())
    assert (result.forwarded, len(sink.taken), source.taken) == (2, 2, [])


def test_addresses_that_move_now_and_then_are_no_loop():
    assert seems_loop(5_000, 100, 60)
    assert not seems_loop(5_000, 100, 7 * 24 * 3600)


def test_a_loop_between_ports_is_said_once():
    for limit, told in ((None, [" see --storm-limit"]), (10, [""])):
        steps = [(turn % 2, frame(EVERYBODY, mac(turn % 7), turn)) for turn in range(2100)]
        script = Script(3, steps)
        how = Forwarding("switch", options={"storm_limit": limit})
        with ForwardJob(script.ports, Limits(), how) as job:
            heard = []
            job.on_notice = heard.append
            result = ran(job.run())
            job.tick()
            job.tick()
        said = [
            text.partition(": is there a loop?") for text in heard if "is there a loop?" in text
        ]
        assert [after for _, _, after in said] == told
        assert said[0][0].startswith("MAC addresses move between ports, ")
        (phrases,) = decided(result.as_json())
        assert "is there a loop?" in phrases
