# SPDX-License-Identifier: Apache-2.0
"""Addresses of machine code that may be called."""

import pytest

from uspnet.fastpath import ffi, lib

PAGE, MANY = 4096, 4000


@pytest.fixture
def addresses():
    """Of pages that nobody has."""
    starts = [ffi.cast("uint8_t *", 0x7000_0000_0000 + n * PAGE) for n in range(MANY)]
    yield starts
    for start in starts:
        lib.code_remove(start)


def test_thousands_are_known_until_they_are_removed(addresses):
    assert not any(map(lib.code_known, [*addresses, ffi.NULL]))
    assert [lib.code_add(start) for start in addresses] == [0] * MANY
    assert all(map(lib.code_known, addresses))
    for start in addresses[::2]:
        lib.code_remove(start)
    assert [lib.code_known(start) for start in addresses] == [0, 1] * (MANY // 2)
    assert [lib.code_add(start) for start in addresses[::2]] == [0] * (MANY // 2)
    assert all(map(lib.code_known, addresses))


def test_there_is_an_end(addresses):
    """Of which whoever makes code is told: it is done without then."""
    start, added = addresses[0], 0
    while lib.code_add(start) == 0:
        added += 1
    assert lib.code_known(start)
    for _ in range(added):
        assert lib.code_known(start)
        lib.code_remove(start)
    assert not lib.code_known(start)
