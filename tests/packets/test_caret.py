# SPDX-License-Identifier: Apache-2.0
"""A caret is under what is wrong in an expression, however long it is."""

from __future__ import annotations

import unicodedata

import pytest

from uspnet.errors import Usage
from uspnet.packets.caret import INDENT, WIDTH, Span, pointed
from uspnet.packets.craft import craft_changing
from uspnet.packets.streams import Weighted, craft_all
from uspnet.text import printable

# « and » stand around what is marked.
WRONG = [
    "Ether()/IP(dst=«open»('/etc/passwd'))/'x'",
    "Ether()/«UPD»(dport=1)",
    "Ether()/IP()/UDP(«nosuch»=3)",
    "Ether()/IP(ttl=1,dst=«'a.example'»)/UDP()",
    "Ether()/IP()/UDP(sport=5,dport=«70000»)",
    "Ether()/IP()/IP(ttl=«999»)/UDP(dport=7)",
    "Ether()/IP(dst='10.0.0.0/8')/UDP(sport=(1,9),dport=«(1,70000)»)",
    "Ether()/Dot1Q(vlan=«(1,4097)»)/IP(src=Net('10.0.0.0/8'),dst='1.2.3.4')",
    "Ether()/ARP(op=[1,2,«'nosuch'»])",
    "Ether()/Dot1Q(vlan=5)/Dot1Q(vlan=«[1,5000]»)",
    "Ether()/IP(src='1.2.3.4',options=[IPOption_RR(«foo»=1)])",
    "Ether()/IP(dst=«Net('10.0.0.0/99')»)",
    "Ether()/IP()/UDP(dport=«(5,1)»)",
    "Ether(src=«'foo'»)",
    "Ether()/ARP(pdst=«'a.bc'»)",
    "«IP()»/UDP()",
    "Ether()/IP()/«5»",
    "Ether(«**»{'dst':1})",
    "Ether()/(«'x'*99999999»)",
    "Ether()/IP()/UDP«(»",
    "Ether() «IP»()",
    "Ether()/IP(\r\n\tdst='1.2.3.4')/UDP(\n  dport=«-7»)",
    "Ether()/'é日本\U0001f600'/UDP(dport=«70000»)",
    "Ether()/Raw('" + "x" * 300 + "')/IP(ttl=«300»)/('" + "y" * 300 + "')",
    "Ether()/«open»(" + "1," * 300 + ")",
    "Ether()/Raw('" + "日" * 300 + "')/«open»()",
    "Ether()/'«\udcff»'",
    "Ether()/'«\0»'",
    "Ether()/'\x1b[31m'/IP(ttl=«300»)",
]


def columns(text):
    return sum(1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def shown(text):
    """The text as a terminal shows it, and the part that is marked, which begins in that column."""
    with pytest.raises(Usage) as caught:
        craft_changing(text)
    message, line, caret = caught.value.lines
    assert message.startswith("--packet: ")
    assert caught.value.hint
    assert line.isprintable()
    assert columns(line) <= len(INDENT) + WIDTH
    before = caret.index("^")
    marked, at = "", 0
    for each in line:
        marked += each if before <= at < len(caret) else ""
        at += columns(each)
    return line, marked


@pytest.mark.parametrize("text", WRONG)
def test_the_caret_is_under_the_fault(text):
    before, rest = text.split("«")
    fault, after = rest.split("»")
    line, marked = shown(before + fault + after)
    assert marked == {"\udcff": "\\xff", "\0": "\\x00"}.get(fault, fault)
    assert line.endswith(("…", printable(after[-9:])))
    assert line.startswith((f"{INDENT}…", INDENT + printable(before[:9])))


def test_a_part_of_a_long_text_is_shown():
    text = "".join(map(str, range(10))) * 30
    for start, end in ((0, 300), (0, 1), (150, 152), (150, 300), (299, 300), (300, 301)):
        line, caret = pointed(text, Span(start, end))
        assert len(line) <= len(INDENT) + WIDTH
        assert len(caret) <= len(line) + 1
        if start < 300:
            assert line[caret.index("^")] == text[start]
    assert pointed("", Span(0, 1)) == (INDENT, INDENT + "^")


def test_one_of_several_expressions_is_named_above_it():
    with pytest.raises(Usage) as caught:
        craft_all([Weighted("Ether()/IP()"), Weighted("Ether()/IP(ttl=300)")], None)
    assert caught.value.lines == (
        "--packet 2: the value of ttl does not fit its field",
        "    Ether()/IP(ttl=300)",
        "                   ^~~",
    )
