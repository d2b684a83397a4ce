# SPDX-License-Identifier: Apache-2.0
"""Port specs: taken apart, checked against a driver's options, and never a crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uspnet.errors import Usage
from uspnet.spec import Option, choice, escaped, integer, parse, seconds, string, switch

OPTIONS = {
    "size": Option(integer(14, 9728), 60, "bytes, 14 to 9728"),
    "loop": Option(switch, False, "on or off"),
    "role": Option(choice("client", "server"), "client", "client or server"),
    "wait": Option(seconds, 2.0, "seconds, or forever"),
    "secret": Option(string(4), "", "at most 4 bytes"),
}


def test_a_spec_has_a_scheme_a_target_and_options():
    spec = parse("memif:/run/m.sock,role=server,id=0")
    assert (spec.scheme, spec.target) == ("memif", "/run/m.sock")
    assert spec.given == {"role": "server", "id": "0"}
    assert str(spec) == "memif:/run/m.sock,role=server,id=0"


def test_options_may_stand_where_the_target_would():
    assert parse("null:size=60,queues=2").given == {"size": "60", "queues": "2"}


def test_values_are_read_and_defaults_filled_in():
    values = parse("x:t,size=0x40,loop=on,wait=forever").options(OPTIONS)
    assert values == {
        "size": 64, "loop": True, "role": "client", "wait": float("inf"), "secret": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x:t,size=13", "14 to 9728"),
        ("x:t,size=", "14 to 9728"),
        ("x:t,size=ten", "14 to 9728"),
        ("x:t,loop=yes", "on or off"),
        ("x:t,role=peer", "client or server"),
        ("x:t,wait=-1", "seconds"),
        ("x:t,wait=nan", "seconds"),
        ("x:t,wait=1 week", "seconds"),
        ("x:t,secret=12345", "4 bytes"),
        ("x:t,other=1", "loop, role, secret"),
    ],
)
def test_a_bad_value_says_what_would_be_good(text, hint):
    with pytest.raises(Usage) as caught:
        parse(text).options(OPTIONS)
    assert hint in caught.value.hint


def test_values_may_have_units():
    values = parse("x:t,size=1k,wait=1m30s").options(OPTIONS)
    assert (values["size"], values["wait"]) == (1000, 90.0)


def test_a_bare_interface_name_is_shown_as_ports():
    with pytest.raises(Usage) as caught:
        parse("eth0")
    assert "kernel interface" in caught.value.hint
    assert "packet:eth0" in caught.value.hint


def test_a_bare_path_is_shown_as_a_file_and_as_a_socket():
    with pytest.raises(Usage) as caught:
        parse("./in.pcap")
    assert "pcap:./in.pcap" in caught.value.hint
    assert "memif:./in.pcap" in caught.value.hint


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True).filter(lambda name: name != "pci")
TEXTS = st.text(st.characters(exclude_characters="\\"))


@given(NAMES, TEXTS.filter(lambda text: "=" not in text), st.dictionaries(NAMES, TEXTS))
def test_what_is_written_into_a_spec_is_read_back(scheme, target, given):
    options = "".join(f",{name}={escaped(value)}" for name, value in given.items())
    spec = parse(f"{scheme}:{escaped(target)}{options}")
    assert (spec.scheme, spec.target, spec.given) == (scheme, target, given)


@given(st.text())
def test_any_text_is_a_spec_or_an_error_with_a_hint(text):
    try:
        parse(text)
    except Usage as error:
        hint = error.hint
    else:
        hint = "it is one"
    assert hint


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("pcap:a,b.pcap", "pcap:a\\,b.pcap"),
        ("pcap:out=a,b.pcap", "pcap:out=a\\,b.pcap"),
        ("pcap:,a", "pcap:\\,a"),
    ],
)
def test_how_a_comma_is_written(text, written):
    with pytest.raises(Usage) as caught:
        parse(text)
    assert f"'{written}'" in caught.value.hint
    parse(written)
