# SPDX-License-Identifier: Apache-2.0
"""Help is complete, quick to start, and the same everywhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from uspnet import __version__
from uspnet.cli import app
from uspnet.cli.manual import ENVIRONMENT, FILES, LOSSY, examples, used_by
from uspnet.jobs.forward.mode import MODES, modes
from uspnet.ports.registry import make_port

ROOT = Path(__file__).resolve().parents[2]
GROUP = typer.main.get_command(app)
SHARED = {"--duration", "--count", "--cores", "--burst", "--poll", "--json", "--quiet", "-v"}


def options(command):
    return {name for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("arguments", [[], *([name] for name in GROUP.commands)])
def test_every_command_has_help(uspnet, arguments):
    result = uspnet(*arguments, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: {' '.join(['uspnet', *arguments])} ")
    assert result.stderr == ""


def test_every_mode_of_fwd_is_in_its_help(uspnet, monkeypatch):
    told = " ".join(uspnet("fwd", "--help").stdout.split())
    assert all(f"{name} {mode.help}" in told for name, mode in modes().items() if mode.help)
    assert all(mode.help for mode in modes().values())
    monkeypatch.setitem(MODES, "tee", type("Tee", (), {"help": "sends copies to two ports"}))
    command = GROUP.commands["fwd"]
    text = dict(command.records(typer.Context(command), "option"))["--mode MODE"]
    assert "macswap swaps their MAC addresses, " in text
    assert text.partition("  [")[0].endswith(", tee sends copies to two ports.")


@pytest.mark.parametrize("name", GROUP.commands)
def test_every_option_is_explained(name):
    command = GROUP.commands[name]
    assert command.help
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@pytest.mark.parametrize("name", ["pktgen", "capture", "fwd", "attach", "reflect"])
def test_running_commands_share_their_options(name):
    assert options(GROUP.commands[name]) >= SHARED


def test_without_a_command_the_help_is_shown(uspnet):
    result = uspnet()
    assert result.returncode == 2
    assert result.stdout == uspnet("--help").stdout


def test_the_version(uspnet):
    assert uspnet("--version").stdout == f"uspnet {__version__}\n"


def test_help_loads_neither_scapy_nor_the_fast_path():
    code = (
        "import sys; sys.argv = ['uspnet', '--help']\n"
        "from uspnet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "slow = {'scapy', 'cffi', 'uspnet.fastpath', 'rich.live', 'asyncio'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == "[]\n"


TOOLS = [
    *([name, "--check"] for name in ("man.py", "readme.py", "drivers.py", "schema.py", "stubs.py")),
    ["size.py"],
]


@pytest.mark.parametrize("tool", TOOLS)
def test_generated_texts_and_sizes_are_in_order(tool):
    if tool[0] == "size.py" and not (ROOT / ".git").exists():
        pytest.skip("needs a git work tree")
    script, *arguments = tool
    command = [sys.executable, str(ROOT / "tools" / script), *arguments]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT),
                                                                   "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", GROUP.commands)
def test_help_is_not_in_python(uspnet, name):
    text = uspnet(name, "--help").stdout
    assert not re.search(r"<(str|int|float|list)|list\[|<=x|range>|[{}]", text), text
    assert "\nExamples:\n" in text


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name in GROUP.commands for _, line in examples(name)]
)
def test_examples_are_right(name, line):
    words = shlex.split(line.partition(" | ")[0])
    assert words[:2] == ["uspnet", name]
    context = GROUP.commands[name].make_context(name, words[2:])
    ports = [context.params.get("port"), context.params.get("rx_port")]
    for port in filter(None, [*ports, *context.params.get("ports", ())]):
        make_port(port)


@pytest.mark.parametrize("name", ["", *GROUP.commands])
def test_man_pages_have_their_sections(name):
    page = (ROOT / "man" / f"uspnet{name and '-'}{name}.1").read_text()
    assert not re.search(r"<(str|int|float|list)|list\[|<=x", page)
    titles = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert {"EXAMPLES", "EXIT STATUS", "SEE ALSO"} <= set(titles)
    assert name or {"FILES", "ENVIRONMENT", "PORTS", "OPTIONS OF NICS"} <= set(titles)
    assert ("FILES" in titles) == bool(used_by(name, FILES))
    assert ("\\-\\-fail\\-on\\-loss allows" in page) == (name in ("", *LOSSY))


def test_every_variable_that_is_read_is_documented():
    """Of the environment, in the code that is installed; what the build reads is no user's."""
    code = "".join(path.read_text() for path in (ROOT / "uspnet").rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"(USPNET_\w+)\"", code))
    documented = " ".join(what for what, _, _ in ENVIRONMENT)
    assert {name for name in read if name not in documented} <= {
        "USPNET_CFLAGS",
        "USPNET_SOURCE_ROOT",
    }
