# SPDX-License-Identifier: Apache-2.0
"""Text from outside never moves a cursor, changes a colour, or reads in another order."""

from __future__ import annotations

import io

import pytest

from uspnet.cli.failure import tell
from uspnet.cli.views.console import plain_console, show_lines
from uspnet.errors import Usage, UspnetError
from uspnet.nic.base import mac_address
from uspnet.packets.frames import mac_bytes
from uspnet.text import printable

HOSTILE = [
    "\x1b]0;title\x07", "\x1b[31m", "a\rb", "a\nroot: ok", "\u202eevil", "\u200b", "\u2066",
    "\u2028", "\x85", "\x9b31m", "\x00", "\x7f", "\udc80\udcff", "\ufeff", "\U000e0041", "\xad",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_everything_is_visible(text):
    seen = printable(f"<{text}>")
    assert seen.isprintable()
    assert seen.startswith("<")
    assert seen.endswith(">")
    assert printable(seen) == seen
    seen.encode()


def test_what_is_printable_stays():
    assert printable("memif:/run/Grüße → 日本.sock") == "memif:/run/Grüße → 日本.sock"
    assert printable("x" * 10, longest=4) == "xxx…"
    assert printable("\udcff") == "\\xff"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_way_to_a_terminal_leaves_anything_out(text, capsys):
    from rich.table import Table

    console = plain_console()
    console.file = io.StringIO()
    table = Table(title=text, caption=text)
    table.add_column(text)
    table.add_row(text)
    console.print(text)
    console.print(table)
    show_lines([text])
    tell(UspnetError(text, text, [text]), as_json=False)
    tell(UspnetError(text, text, [text]), as_json=True)
    out, errors = capsys.readouterr()
    for seen in (console.file.getvalue(), out, errors):
        assert seen
        assert "".join(seen.split("\n")).isprintable()
    assert len(errors.splitlines()) == 3, "one line for each of ours, and the hint"


@pytest.mark.parametrize("text", ["02:00:5e:00:00:01", "2:0:5e:0:0:1", "02-00-5E-00-00-01"])
def test_a_mac_address_is_read_alike_everywhere(text):
    assert mac_bytes(text) == mac_address(text) == bytes.fromhex("02005e000001")


@pytest.mark.parametrize(
    "text", ["", "02:00:00:00:00", "020000000001", "02:00:00:00:00:001", "02:00:00:00:00:0g",
             " 2:0:0:0:0:1", "+2:0:0:0:0:1", "\u0662:0:0:0:0:1"],
)  # fmt: skip
def test_what_is_no_mac_address_is_refused_alike(text):
    with pytest.raises(Usage, match="is not a MAC address"):
        mac_bytes(text)
    with pytest.raises(ValueError, match="six bytes such as 02:00:00:00:00:01"):
        mac_address(text)
