# SPDX-License-Identifier: Apache-2.0
"""Field programs in C beside the same arithmetic in Python: values, places, parts of a sequence."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uspnet.errors import Usage
from uspnet.fastpath import ffi, lib
from uspnet.packets.fields.program import Check, Index, Program, Step, sample
from uspnet.packets.frames import checksum

FRAME = bytes(range(64))
BURST = lib.BURST_MAX


def written(step, value):
    """The frame with a value in a step's place."""
    left = 8 * len(FRAME) - step.at - step.bits
    mask = ((1 << step.bits) - 1) << left
    number = int.from_bytes(FRAME, "big") & ~mask | value << left
    return number.to_bytes(len(FRAME), "big")


def values(index, count=BURST, part=(0, 1)):
    """The indexes of a worker's first packets, by C."""
    program = Program([(index, [Step(0, 64)])])
    frames = sample(program, [bytes(8)] * count, part)
    return [int.from_bytes(frame, "big") for frame in frames]


@given(st.integers(0, 511), st.integers(1, 64), st.data())
def test_a_value_is_written_into_its_bits_and_nowhere_else(at, bits, data):
    bits = min(bits, 512 - at)
    step = Step(at, bits, low=data.draw(st.integers(0, (1 << bits) - 1)), step=0)
    if step.size > 8:
        return
    program = Program([(Index(1), [step])])
    assert sample(program, [FRAME] * 3) == [written(step, step.low)] * 3


@pytest.mark.parametrize("program", [
    Program([(Index(1), [Step(8 * 30, 16), Step(0, 8)])]),
    Program([(Index(1), [Step(8 * 30 + 4, 12, values=(1,))])]),
    Program([(Index(1), [Step(0, 8, factors=(1,))])], [Check(30, 0, 0)]),
])  # fmt: skip
def test_nothing_is_written_behind_a_frames_end(program):
    assert program.reach() == 32
    assert len(sample(program, [bytes(64), bytes(32)])) == 2
    with pytest.raises(Usage, match="bytes up to 32 of frames of 31"):
        sample(program, [bytes(64), bytes(31)])


@given(st.integers(1, 1 << 64), st.integers(1, 1 << 63), st.integers(0, 1 << 40),
       st.integers(1, 1 << 20))  # fmt: skip
def test_values_in_turn(count, every, first, stride):
    index = Index(count, every=every)
    numbers = [first + i * stride for i in range(BURST)]
    assert values(index, part=(first, stride)) == [n // every % count for n in numbers]


@given(st.integers(1, 1 << 64), st.integers(0, (1 << 64) - 1), st.integers(1, 9))
def test_random_values_follow_from_seed_and_number(count, seed, stride):
    index = Index(count, lib.CHOICE_RANDOM, seed=seed)
    numbers = [2 + i * stride for i in range(BURST)]
    got = values(index, part=(2, stride))
    assert got == [index.of(number) for number in numbers]
    assert max(got) < count


def test_an_alias_table_decides_by_its_thresholds():
    half = 1 << 31
    index = Index(3, lib.CHOICE_ALIAS, seed=7, alias=[(0, 2), (half, 0), ((1 << 32) - 1, 2)])
    got = [index.of(number) for number in range(3000)]
    assert values(index) == got[:BURST]
    counts = Counter(got)
    assert 400 < counts[0] < 600  # a half of a third
    assert 400 < counts[1] < 600
    assert counts[2] > 1800


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_workers_play_disjoint_parts_of_one_sequence(workers):
    index = Index(1 << 16, lib.CHOICE_RANDOM, seed=3)
    whole = [index.of(number) for number in range(20 * workers)]
    for number in range(workers):
        assert values(index, 20, (number, workers)) == whole[number::workers]


def test_a_worker_goes_on_where_its_last_burst_ended():
    program = Program([(Index(100), [Step(0, 8)])])
    made = program.make()
    memory = ffi.new("uint8_t[64]")
    pool = ffi.new("struct pool *", (memory, 1, 64))
    packets = ffi.new("struct packet[]", [(i, 0, 1) for i in range(64)])
    seen = b""
    for size in (1, 64, 3, 0, 64):
        lib.field_program(ffi.cast("struct field *", made), pool, packets, size)
        seen += bytes(ffi.buffer(memory, size))
    assert list(seen) == [number % 100 for number in range(132)]
    assert made.next == 132


@given(st.integers(0, 1 << 32), st.booleans())
def test_a_checksum_follows_values_at_even_and_at_odd_places(seed, is_udp):
    source = random.Random(seed)
    frame = bytearray(source.randbytes(60))
    frame[20:22] = bytes(2)
    frame[20:22] = (checksum(bytes(frame)) or 0xFFFF * is_udp).to_bytes(2, "big")
    steps = [Step(8 * at, 8 * size, low=source.getrandbits(8 * size), step=source.getrandbits(60))
             for at, size in ((2, 2), (5, 3), (23, 4), (30, 8), (41, 1))]  # fmt: skip
    steps = [Step(s.at, s.bits, s.low & (1 << s.bits) - 64, 1, factors=(256 if s.first % 2 else 1,))
             for s in steps]  # fmt: skip
    rest = -sum(s.factors[0] * s.words(bytes(frame)) for s in steps) % 0xFFFF
    program = Program([(Index(63), steps)], [Check(20, rest, 0xFFFF if is_udp else 0)])
    for made in sample(program, [bytes(frame)] * BURST):
        zeroed = made[:20] + bytes(2) + made[22:]
        wanted = checksum(zeroed)
        assert int.from_bytes(made[20:22], "big") == (wanted or 0xFFFF * is_udp)


def test_a_checksum_that_would_be_0_is_sent_as_its_field_wants_it():
    frame = bytes(20) + bytes.fromhex("ffff") + bytes(10)
    for zero in (0, 0xFFFF):
        program = Program([(Index(2), [Step(0, 16, 0xFFFE, factors=(1,))])], [Check(20, 0, zero)])
        one, two = sample(program, [frame] * 2)
        assert (one[20:22].hex(), two[20:22].hex()) == ("0001", f"{zero:04x}")
