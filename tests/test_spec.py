# SPDX-License-Identifier: Apache-2.0
"""Port specs: taken apart, checked against a driver's options, and never a crash."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT
from uspnet.errors import Usage
from uspnet.spec import (
    Options,
    choice,
    escaped,
    integer,
    option,
    parse,
    seconds,
    string,
    switch,
)


@dataclass(frozen=True)
class Basic(Options):
    size: int = option(integer(14, 9728), 60, "bytes, 14 to 9728")
    loop: bool = option(switch, False, "on or off")
    role: str = option(choice("client", "server"), "client", "client or server")
    max_wait: float = option(seconds, 2.0, "seconds, or forever")
    secret: str = option(string(4), "", "at most 4 bytes")


def read(text):
    """Options as a port has them."""
    options = Basic()
    return options.changed(parse(text).read(options.known()))


def test_a_spec_has_a_scheme_a_target_and_options():
    spec = parse("memif:/run/m.sock,role=server,id=0")
    assert (spec.scheme, spec.target) == ("memif", "/run/m.sock")
    assert spec.given == {"role": "server", "id": "0"}
    assert str(spec) == "memif:/run/m.sock,role=server,id=0"


def test_options_may_stand_where_the_target_would():
    assert parse("null:size=60,queues=2").given == {"size": "60", "queues": "2"}


def test_values_are_read_and_defaults_filled_in():
    options = read("x:t,size=0x40,loop=on,max-wait=forever")
    assert options == Basic(64, True, "client", float("inf"), "")
    assert read("x:t") == Basic()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x:t,size=13", "14 to 9728"),
        ("x:t,size=", "14 to 9728"),
        ("x:t,size=ten", "14 to 9728"),
        ("x:t,loop=yes", "on or off"),
        ("x:t,role=peer", "client or server"),
        ("x:t,max-wait=-1", "seconds"),
        ("x:t,max-wait=nan", "seconds"),
        ("x:t,max-wait=1 week", "seconds"),
        ("x:t,max_wait=1", "did you mean max-wait=?"),
        ("x:t,secret=12345", "4 bytes"),
        ("x:t,other=1", "loop, max-wait, role, secret"),
    ],
)
def test_a_bad_value_says_what_would_be_good(text, hint):
    with pytest.raises(Usage) as caught:
        read(text)
    assert hint in caught.value.hint


def test_values_may_have_units():
    options = read("x:t,size=1k,max-wait=1m30s")
    assert (options.size, options.max_wait) == (1000, 90.0)


@dataclass(frozen=True)
class Family(Basic):
    queues: int = 1  # no option here
    size: int = option(integer(1, 2), 2, "1 or 2")


@dataclass(frozen=True)
class Member(Family):
    queues: int = option(integer(1, 4), 1, "1 to 4")


def test_a_field_is_no_option_where_it_is_fixed():
    assert "queues" not in Family.known()
    assert Family().changed({"queues": 2}) == Family()
    assert Member().changed({"queues": 2}) == Member(queues=2)


def test_a_family_can_declare_an_option_anew():
    assert list(Member.known()) == ["size", "loop", "role", "max-wait", "secret", "queues"]
    with pytest.raises(Usage, match="size=60: must be 1 to 2"):
        parse("x:t,size=60").read(Member.known())


TYPED = """
from dataclasses import dataclass
from uspnet.spec import Options, integer, option, switch

@dataclass(frozen=True)
class Some(Options):
    ring: int = option(integer(1, 2), 1, "help")
    {line}

class Base:
    options: Options = Options()

class Port(Base):
    options = Some()
    def size(self) -> int:
        return self.options.{name}
"""


@pytest.mark.parametrize(
    ("line", "name", "said"),
    [
        ("", "ring", ""),
        ("", "rings", 'has no attribute "rings"'),
        ("loop: bool = option(switch, False, 'help')", "loop", ""),
        ("loop: bytes = option(switch, False, 'help')", "ring", "[assignment]"),
        ("loop: str = option(integer(1, 2), 'x', 'help')", "ring", "[arg-type]"),
        ("text: str = option(str, '', 'help')", "text", "[return-value]"),
    ],
)
def test_options_have_types_that_mypy_checks(tmp_path, line, name, said):
    (tmp_path / "port.py").write_text(TYPED.format(line=line, name=name))
    words = ["--strict", "--follow-imports=silent", f"--cache-dir={ROOT}/.mypy_cache"]
    command = [sys.executable, "-m", "mypy", *words, str(tmp_path / "port.py")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == bool(said), found.stdout + found.stderr
    assert said in found.stdout


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
