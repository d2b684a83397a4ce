# SPDX-License-Identifier: Apache-2.0
"""Every register table keeps the rules; and registers do what their rows say."""

import re

import pytest

from tests.support.waiting import scaled
from uspnet.drivers import nics
from uspnet.errors import DeviceFault, DeviceTimeout
from uspnet.register import RC, RO, RW, TABLES, Registers, trace
from uspnet.transports.fake import Fake

nics()  # imports every table that a driver has
ALL = [table for table in TABLES if table.__module__.startswith("uspnet.")]


@pytest.fixture(params=ALL, ids=lambda table: f"{table.__module__}.{table.__qualname__}")
def table(request):
    return request.param


def spans(table):
    """Pairs of a register's bytes and its row."""
    for row in table.rows.values():
        for index in range(row.count):
            start = row.offset + index * row.stride
            yield range(start, start + row.width // 8), row


def test_rows_lie_in_their_window(table):
    assert table.bytes
    for span, row in spans(table):
        assert 0 <= span.start < span.stop <= table.bytes, row.name
        assert span.start % (min(row.width, 32) // 8) == 0, f"{row.name} is not aligned"


def test_no_two_rows_share_bytes(table):
    owner = {}
    for span, row in spans(table):
        for byte in span if not row.alias else ():
            other = owner.setdefault(byte, row)
            assert other is row, f"{row.name} overlaps {other.name} at {byte:#x}"


def test_elements_of_an_array_do_not_overlap(table):
    for row in table.rows.values():
        assert row.count == 1 or row.stride >= row.width // 8, row.name


def test_fields_fit_and_do_not_overlap(table):
    for row in table.rows.values():
        taken = 0
        for name in row.fields:
            low, high = row.range_of(name)
            assert 0 <= low <= high < row.width, f"{row.name}.{name}"
            assert name == name.upper(), f"{row.name}.{name}"
            assert not taken & row.mask(name), f"{row.name}.{name} overlaps another field"
            taken |= row.mask(name)


def test_every_row_cites_a_section(table):
    for row in table.rows.values():
        assert re.search(r"§[0-9A-Z]", row.title), row.name


class Regs(Registers, bytes=0x100):
    CTRL = RW(0x00, "Control, §1", EN=0, MODE=(4, 6))
    WIDE = RW(0x08, "Address, §2", width=64)
    TAIL = RW(0x10, "Tail, §3", count=2, stride=8)
    COUNT = RC(0x20, "Count, §4")


class Newer(Regs):
    CTRL = RW(0x00, "Control, §1.1", EN=0, MODE=(4, 7))
    SMALL = RO(0x24, "Small, §5", width=8)


@pytest.fixture
def device():
    return Fake({}, 0x100)


@pytest.fixture
def regs(device):
    return Newer(device.bar, "fake")


def test_fields_are_read_and_written_by_name(regs, device):
    regs.CTRL.write(MODE=5)
    regs.CTRL.update(EN=1)
    assert regs.CTRL.read() == 0x51
    assert regs.CTRL.read().MODE == 5
    assert str(regs.CTRL.read()) == "0x00000051 EN MODE=0x5"
    with pytest.raises(ValueError, match="can't hold"):
        regs.CTRL.write(MODE=16)
    with pytest.raises(AttributeError, match="no field"):
        _ = regs.CTRL.read().NONE


def test_a_wide_register_is_two_words_the_lower_first(regs, device):
    regs.WIDE.write(0x1122334455667788)
    assert device.log == [("write", 8, 0x55667788), ("write", 12, 0x11223344)]
    assert regs.WIDE.read() == 0x1122334455667788


def test_arrays_are_indexed(regs, device):
    regs.TAIL[1].write(7)
    assert device.log == [("write", 0x18, 7)]
    with pytest.raises(IndexError):
        _ = regs.TAIL[2]


def test_tables_inherit_and_override(regs):
    assert set(Newer.rows) == {"CTRL", "WIDE", "TAIL", "COUNT", "SMALL"}
    assert Newer.rows["CTRL"].title == "Control, §1.1"
    assert Regs.rows["CTRL"].title == "Control, §1"


def test_waiting_ends_when_the_field_has_the_value(regs, device):
    seen = iter([0, 0, 1])
    device.bar.on_read[0] = lambda _: next(seen)
    assert regs.CTRL.wait(EN=1, timeout=scaled(5)).EN == 1


def test_waiting_has_a_deadline_and_says_what_it_saw(regs):
    regs.CTRL.write(MODE=3)
    with pytest.raises(DeviceTimeout, match=r"CTRL \(Control.*EN=1 \(mask 0x1\), still 0x00000030"):
        regs.CTRL.wait(EN=1, timeout=0.01)


def test_a_removed_device_is_a_fault_not_a_value(regs, device):
    device.removed = True
    for access in (lambda: regs.CTRL.wait(EN=1, timeout=scaled(5)), lambda: regs.CTRL.update(EN=1)):
        with pytest.raises(DeviceFault, match="CTRL reads as all ones"):
            access()


def test_every_access_can_be_traced(regs):
    lines = []
    trace(lines.append)
    try:
        regs.CTRL.write(EN=1)
        regs.TAIL[1].read()
    finally:
        trace(None)
    regs.CTRL.read()
    assert lines == ["fake CTRL 0x00000 ← 0x00000001 EN", "fake TAIL[1] 0x00018 → 0x00000000"]


def test_a_register_outside_of_a_short_structure_is_not_there(device):
    device.bar.size = 0x14
    assert [each.name for each in Newer(device.bar, "fake").in_window()] == [
        "CTRL",
        "WIDE",
        "TAIL[0]",
    ]


def test_what_reading_would_change_is_known():
    rows = {row.name: row for table in ALL for row in table.rows.values()}
    assert {rows[name].read_policy for name in ("CTRL", "STATUS", "RDT", "DEVICE_STATUS")} == {
        "always"
    }
    assert {rows[name].read_policy for name in ("ICR", "MPC")} == {"named"}
    assert {rows[name].read_policy for name in ("SWSM", "IMC", "TXPROD")} == {"never"}
