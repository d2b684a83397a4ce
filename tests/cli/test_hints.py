# SPDX-License-Identifier: Apache-2.0
"""What messages and hints tell people to type exists: commands, their options, ports and theirs.

Every text in the program's source is looked at, docstrings aside; what a text leaves open, as the
`{name}` of an f-string, stands for a word that fits.
"""

from __future__ import annotations

import ast
import re

import pytest
import typer

from tests.support.paths import ROOT
from uspnet.cli import app, foreign
from uspnet.drivers import nics
from uspnet.ports.registry import make_port, schemes

COMMANDS = typer.main.get_command(app).commands
COMMAND = re.compile(r"(?:^|[:;`] ?|with |use )uspnet (?!(?:can|has|speaks)\b)([a-z]+)\b([^;`]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
CALL = r"\d+:(?:\d+|-)(?:\s|$)"  # numbers of a system call, in the sandbox's table
MAC = r"(?:[0-9a-f]{2}:){5}"
SPEC = re.compile(rf"(?<![\w.:/=-])(?!{MAC})([a-z][a-z0-9-]*):(?!{CALL})(?=[\w/{{@-])[^\s;`]*")
PORT_OPTION = re.compile(
    r"(?:set|lower|raise|drop|give|add|try|omit|another|wants|take|without|which|a shorter|rings:|"
    r"smaller|the server's|its|or)(?: a)?(?: smaller)? ([a-z][a-z-]*)="
)
OTHERS = {  # options of programs that hints name
    "--long",  # ip
    "--reinstall",  # pip
    "--ambient-caps",  # setpriv
    "--inh-caps",
}
GRAMMAR = "scheme"  # `scheme:target[,option=value…]`
VALUES = ("hex", "imix", "random")  # `--packet hex:…`, `--size imix:aaab`
CONDITIONS = ("duration", "packets", "filesize", "files", "interval", "printname", "nametimenum")
OTHER_WORDS = {
    GRAMMAR,
    "http",
    "https",
    "to",
    "gemodel",
    "codel",
    *VALUES,
    *CONDITIONS,
}  # before a colon
TARGETS = {"qemu": "e1000e", "pci": "0000:03:00.0", "job": "1"}
NUMBERS = re.compile(r"=[NX]$")


def literals(tree):
    """Every text of a module but its docstrings, with its line; {} for what is put in."""
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            yield node.lineno, "".join(parts)
            texts |= {id(v) for v in node.values}
        elif id(node) not in texts and isinstance(getattr(node, "value", None), str):
            yield node.lineno, node.value


def sources():
    for path in sorted((ROOT / "uspnet").rglob("*.py")):
        for line, text in literals(ast.parse(path.read_text())):
            yield f"{path.relative_to(ROOT)}:{line}", text


TEXTS = list(sources())


def options_of(name):
    parameters = COMMANDS[name].params
    return {each for p in parameters for each in (*p.opts, *p.secondary_opts)} | {"--help"}


EVERY_OPTION = set().union({"--version", "--interface"}, *map(options_of, COMMANDS))
PORT_OPTIONS = {
    *(name for port in schemes().values() for name in port.options.known()),
    *(name for nic in nics().values() for name in nic.options.known()),
}


def filled(spec):
    """A port that such a hint may have meant."""
    scheme, _, rest = spec.rstrip(".,:)").partition(":")
    target, *parts = rest.split(",")
    parts = [NUMBERS.sub("=2", part) for part in parts if part != "{}"]
    return f"{scheme}:" + ",".join([target.replace("{}", TARGETS.get(scheme, "x")), *parts])


def test_commands_and_their_options_exist():
    found = [(where, *match.groups()) for where, text in TEXTS for match in COMMAND.finditer(text)]
    assert {"doctor", "capture", "fwd", "bind", "stats"} <= {name for _, name, _ in found}
    for where, name, rest in found:
        assert name in COMMANDS, f"{where}: uspnet {name}"
        unknown = set(OPTION.findall(rest)) - options_of(name)
        assert not unknown, f"{where}: uspnet {name} {unknown}"


def test_options_are_those_of_some_command():
    foreign_keys = {word for table in foreign.ANSWERS.values() for word in table}
    for where, text in TEXTS:
        unknown = set(OPTION.findall(text)) - EVERY_OPTION - OTHERS - {"--extcap-"}
        if text in foreign_keys or where.startswith("uspnet/extcap/"):  # Wireshark's
            continue
        assert not unknown, f"{where}: {unknown}"


def test_ports_exist_and_can_be_made():
    found = {(where, m[0]) for where, text in TEXTS for m in SPEC.finditer(text)}
    found = {each for each in found if each[1].partition(":")[0] not in OTHER_WORDS}
    assert {"pcap", "packet", "memif", "qemu"} <= {spec.partition(":")[0] for _, spec in found}
    for where, spec in found:
        assert spec.partition(":")[0] in schemes(), f"{where}: {spec}"
        make_port(filled(spec))  # raises Usage for an option that it does not have


def test_options_of_ports_exist():
    found = [(where, m[1]) for where, text in TEXTS for m in PORT_OPTION.finditer(text)]
    assert {"queues", "mtu", "rx-ring", "secret", "wire"} <= {name for _, name in found}
    assert not [each for each in found if each[1] not in PORT_OPTIONS]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("see: uspnet doktor", COMMAND),
        ("faster: uspnet pktgen netmap:{}", SPEC),
        ("lower rx-rings=", PORT_OPTION),
        ("use --fast", OPTION),
    ],
)
def test_a_wrong_hint_would_be_found(text, what):
    match = what.search(text)
    word = match[1 if what.groups else 0]
    assert word not in (EVERY_OPTION | PORT_OPTIONS | set(COMMANDS) | set(schemes()))
