# SPDX-License-Identifier: Apache-2.0
"""The numbers of the kernel's functions, in BTF of any content."""

from __future__ import annotations

import random
import struct

import pytest

from uspnet.kernel import btf

NAMES = b"\0int\0wanted\0wanted_too\0not_wanted\0"
WORDS = {  # of each kind, for two members, behind name, kind and size
    1: 1, 2: 0, 3: 3, 4: 6, 5: 6, 6: 4, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 13: 4, 14: 1,
    15: 6, 16: 0, 17: 1, 18: 0, 19: 6,
}  # fmt: skip
MEMBERS = {4, 5, 6, 13, 15, 19}


def one(kind, name=b"int", flag=0):
    members = 2 if kind in MEMBERS else 0
    words = (NAMES.index(b"\0%b\0" % name) + 1, flag << 31 | kind << 24 | members, 4)
    return struct.pack("=3I", *words) + b"\xff" * 4 * WORDS[kind]


def made(*types, more=0):
    """BTF of these types. `more`: bytes of a longer header."""
    body = b"".join(types)
    sizes = (24 + more, 0, len(body), len(body), len(NAMES))
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, *sizes) + bytes(more) + body + NAMES


EACH = [one(kind) for kind in WORDS]
WHOLE = made(*EACH, one(4, flag=1), one(12, b"wanted_too"), one(1, b"wanted"), one(12, b"wanted"))


def test_functions_are_counted_behind_types_of_each_kind():
    assert btf.find_function(WHOLE, "wanted") == len(EACH) + 4
    assert btf.find_function(WHOLE, "wanted_too") == len(EACH) + 2
    assert btf.find_function(made(one(12, b"wanted"), more=8), "wanted") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:20],
        b"\0\0" + WHOLE[2:],
        made(*EACH),
        made(one(1, b"wanted")),
        made(*EACH, one(12, b"wanted")[:4]),
        made(struct.pack("=3I", 0, 31 << 24, 0), one(12, b"wanted")),
        struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, 1 << 31, 0, len(NAMES)) + NAMES,
    ],
)
def test_what_is_not_there_or_not_understood_has_no_number(data):
    assert btf.find_function(data, "wanted") == 0


def test_any_content_is_borne():
    draw = random.Random(1)
    for _ in range(2000):
        data = bytearray(WHOLE)
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        assert btf.find_function(bytes(data[: draw.randint(0, len(data))]), "wanted") >= 0


def test_the_running_kernels_functions_differ():
    if not btf.KERNEL.exists():
        pytest.skip(f"this kernel has no {btf.KERNEL}")
    numbers = [
        btf.function(name) for name in ("ip_rcv", "tcp_v4_rcv", "__dev_queue_xmit", "no_such")
    ]
    assert numbers[3] == 0
    assert len({*numbers}) == len(numbers)


def test_a_kernel_that_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(btf, "KERNEL", tmp_path / "none")
    assert btf.function("asked_for_once") == 0
