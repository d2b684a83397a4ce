# SPDX-License-Identifier: Apache-2.0
"""The file of `uspnet run`: what is right, and 60 ways in which it is wrong."""

from __future__ import annotations

import io
import resource

import pytest
import typer

from uspnet.cli import app
from uspnet.cli.jobs_file.entries import read_entries
from uspnet.cli.jobs_file.tree import FILE_MAX
from uspnet.cli.jobs_file.words import long_options, runs
from uspnet.errors import Refused, Usage
from uspnet.jobs.supervise.entry import Entry, Restart, RestartLimit

GROUP = typer.main.get_command(app)


@pytest.fixture
def read(tmp_path):
    """Reads a text as a file of jobs."""

    def make(text):
        path = tmp_path / "jobs.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_entries(str(path), GROUP)

    return make


def job(text):
    """A file with one job, `a`, and these further lines of it."""
    lines = "".join(f"    {line}\n" for line in text.split("\n"))
    return f"jobs:\n  a:\n{lines}"


def test_a_job_is_a_command_line(read):
    (entry,) = read(
        job(
            "fwd: [\"memif:/run/a.sock,role=server\", 'null:']\nmode: macswap\ncores: [0]\n"
            "duration: 1h30m\nreconnect: no\nverbose: 1\nfail-on-loss: yes\non-full: wait\n"
            "restart: on-failure\nrestart-delay: 500ms\nrestart-limit: 3 in 1m"
        )
    )
    ports = ("memif:/run/a.sock,role=server", "null:")
    options = ("--mode=macswap", "--cores=0", "--duration=1h30m", "--no-reconnect", "--verbose",
               "--fail-on-loss", "--on-full=wait")  # fmt: skip
    assert entry == Entry(
        "a", "fwd", (*options, "--", *ports), Restart.on_failure, 0.5, RestartLimit(3, 60.0)
    )


def test_json_is_yaml(read):
    text = (
        '{\n\t"jobs": {\n\t\t"a": {"capture": "null:", "count": 5, "write": "a\\u0062.pcapng"}}}\n'
    )
    (entry,) = read(text)
    assert entry.words == ("--count=5", "--write=ab.pcapng", "--", "null:")


def test_what_yaml_makes_of_words_does_not_matter(read):
    """The Norway problem, sexagesimal numbers, octal ones, and dates."""
    (entry,) = read(job('pktgen: "null:"\nrestart: no\nsrc-port: 0x10\ncount: 1_000\nsize: 060'))
    assert entry.restart is Restart.no
    assert entry.words[:3] == ("--src-port=0x10", "--count=1_000", "--size=060")


def test_flags_and_their_opposites(read):
    def words(line):
        return read(job(f'pktgen: "null:"\n{line}'))[0].words[:-2]

    assert words("sequence: yes") == ("--sequence",)
    assert words("sequence: off") == ("--no-sequence",)
    assert words("no-sequence: true") == ("--no-sequence",)
    assert words("no-sequence: false") == ("--sequence",)
    assert words("yes: true") == ("--yes",)
    assert words("yes: false") == ()
    assert words("fail-on-loss: 0.1%") == ("--fail-on-loss=0.1%",)
    assert words("verbose: 0") == ()


def test_a_port_that_looks_like_an_option_is_a_port(read):
    with pytest.raises(Usage, match=r"jobs.yaml:3: a: .*--json"):
        read(job("capture: --json"))


def test_a_number_of_restarts_is_the_commands_own(read):
    def entry(restart):
        return read(job(f"fwd: ['null:', 'null:']\nrestart: {restart}"))[0]

    assert (entry("3").restart, entry("3").words[0]) == (Restart.no, "--restart=3")
    both = entry("[always, 3]")
    assert (both.restart, both.words[0]) == (Restart.always, "--restart=3")
    assert entry("always").words[0] == "--"


def test_a_time_after_is_the_commands_own(read):
    def words_and_after(after):
        held = "pre-trigger: 30s\n    on: arp"
        text = f"jobs:\n  a: {{pktgen: 'null:'}}\n  b:\n    capture: 'null:'\n    {held}\n"
        entry = read(f"{text}    write: x.pcapng\n    after: {after}\n")[1]
        return [word for word in entry.words if "after" in word], entry.after

    assert words_and_after("10s") == (["--after=10s"], ())
    assert words_and_after("[a, 10s]") == (["--after=10s"], ("a",))
    assert words_and_after("a") == ([], ("a",))


def test_order(read):
    text = 'jobs:\n  a: {pktgen: "null:"}\n  b: {pktgen: "null:", after: a}\n'
    assert [entry.after for entry in read(text)] == [(), ("a",)]


@pytest.mark.parametrize("name", sorted(runs(GROUP)))
def test_every_long_option_of_a_command_is_a_key(name):
    command = GROUP.commands[name]
    every = {o for each in command.params for o in (*each.opts, *each.secondary_opts)}
    long = {o.removeprefix("--") for o in every if o.startswith("--")}
    assert long - set(long_options(command)) == {"json", "quiet"}


def test_no_key_of_all_jobs_is_an_option_of_a_command():
    from uspnet.cli.jobs_file.entries import SHARED

    for command in runs(GROUP).values():
        both = {*SHARED, *runs(GROUP)} & set(long_options(command))
        assert both <= {"restart", "after"}, "which are the command's own where they are numbers"


BOMB = "a: &a [x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
WRONG = {
    # text of the file: line, and words of message and hint
    "": (1, "not a mapping", "jobs:"),
    "# nothing\n": (1, "not a mapping", "jobs:"),
    "- a\n": (1, "not a mapping", "jobs:"),
    "jobs\n": (1, "not a mapping", "jobs:"),
    "jobs:\n": (1, "names no job", "edge:"),
    "jobs: []\n": (1, "names no job", "edge:"),
    "jobs: {}\n": (1, "names no job", "edge:"),
    "\njbos:\n  a: {}\n": (2, "'jbos'", "did you mean jobs?"),
    "jobs:\n  a: {pktgen: 'null:'}\nversion: 3\n": (3, "'version'", "jobs:"),
    "jobs:\n  a: 1\n": (2, "a: says nothing to run", "edge:"),
    "jobs:\n  a:\n": (2, "a: says nothing to run", "edge:"),
    "jobs:\n  a: {}\n": (2, "says nothing|has no command", ""),
    "jobs:\n  a: {mode: io}\n": (2, "has no command", "pktgen"),
    "jobs:\n  a: {pktgne: 'null:'}\n": (2, "no command 'pktgne'", "did you mean pktgen?"),
    "jobs:\n  a: {pktgen: 'null:', capture: 'null:'}\n": (2, "are two commands", "two jobs"),
    "jobs:\n  A b: {pktgen: 'null:'}\n": (2, "'A b' can't be", "small letters"),
    "jobs:\n  uspnet: {pktgen: 'null:'}\n": (2, "can't be a job's name", "small letters"),
    f"jobs:\n  {'a' * 33}: {{pktgen: 'null:'}}\n": (2, "can't be", "32"),
    "jobs:\n  ../x: {pktgen: 'null:'}\n": (2, "can't be", "small letters"),
    "jobs:\n  a: {pktgen: 'null:'}\n  a: {pktgen: 'null:'}\n": (3, "'a' is there twice", "keep"),
    job("pktgen: 'null:'\ncount: 1\ncount: 2"): (5, "'count' is there twice", "keep one"),
    job("fwd: ['null:', 'null:']\nmod: io"): (4, "fwd has no 'mod'", "did you mean mode?"),
    job("fwd: ['null:', 'null:']\n--mode: io"): (4, "no '--mode'", "did you mean mode?"),
    job("fwd: ['null:', 'null:']\nrestrat: no"): (4, "no 'restrat'", "did you mean restart?"),
    job("fwd: ['null:', 'null:']\nxyzzy: io"): (4, "no 'xyzzy'", "uspnet fwd --help"),
    job("fwd: ['null:', 'null:']\njson: yes"): (4, "no 'json'", "drop it"),
    job("capture: 'null:'\nw: x.pcapng"): (4, "no 'w'", "long name: write"),
    job("capture: 'null:'\ninterface: eth0"): (4, "no 'interface'", "packet:IFNAME"),
    job("capture: 'null:'\nsnapshot-length: 9"): (4, "snapshot-length", "--snaplen"),
    job("fwd: ['null:', 'null:']\nmode: macswop"): (4, "macswop", "macswap"),
    job("fwd: ['null:', 'null:']\n\non-full: wayt"): (5, "'wayt' is none of", "did you mean wait?"),
    job("fwd: ['null:', 'null:']\n\nduration: soon"): (5, "'soon': not a time", "10s"),
    job("fwd: ['null:', 'null:']\nduration:"): (4, "duration: has no value", "or drop it"),
    job("fwd: ['null:', 'null:']\nduration: [1, 2]"): (4, "takes one value", "VALUE"),
    job("fwd: ['null:', 'null:']\nduration: {a: 1}"): (4, "takes one value", "VALUE"),
    job("fwd: ['null:', 'null:']\nreconnect: maybe"): (4, "'maybe' is neither", "reconnect: yes"),
    job("fwd: ['null:', 'null:']\nverbose: 9"): (4, "'9' is not 0, 1 or 2", "verbose: 1"),
    job("fwd: ['null:', 'null:']\n\ncores: [0, x]"): (5, "'x' is not a core", "write 1,2"),
    job("fwd: ['null:', 'null:']\n\ncores: 0,0"): (5, "names a core twice", "its own"),
    job("fwd: ['null:', 'null:']\ncores: [65000]"): (3, "core 65000 does not exist", "usable"),
    job("fwd: ['null:', 'null:']\nburst: 65"): (4, "too large", ""),
    job("fwd: 'null:'"): (3, "takes 2 ports", ""),
    job("fwd: []"): (3, "names no port", "packet:eth1"),
    job("fwd:"): (3, "names no port", "packet:eth1"),
    job("fwd: [null:, null:]"): (3, "not a port", "ends with a colon"),
    job("fwd: [memif:/a,secret=x, 'null:']"): (3, r"'secret=\*\*\*' is", "quote the port"),
    job("capture: 'nul:'"): (3, "nul", "null"),
    job("capture: eth0"): (3, "eth0", "packet:eth0"),
    job("capture: 'memif:/a,role=sever'"): (3, "sever", "server"),
    job("capture: 'null:'\nwrite: '-'"): (4, "both write to stdout", "write to a file"),
    job("capture: 'null:'\nwrite: ''"): (4, "is empty", "x.pcapng"),
    job("capture: 'null:'\nsnaplen: 96"): (4, "--snaplen needs -w", "add -w"),
    job("capture: 'null:'\nfilter: tcp\nlist-filter: yes"): (5, "captures nothing", "drop it"),
    job("pktgen: 'null:'\nlink: 10G"): (4, "--link needs --rate", "--rate 25%"),
    job("pktgen: 'null:'\nrate: 10G"): (4, "packets or bits", "10Gbit/s"),
    job("pktgen: 'null:'\nrx-port: 'nul:'"): (3, "nul", "null"),
    job("pktgen: 'null:'\npacket: 'Ether('"): (4, "never closed", ""),
    job("pktgen: 'null:'\nrestart: sometimes"): (4, "'sometimes' is none of no", "on-failure"),
    job("pktgen: 'null:'\nrestart: true"): (4, "'true' is none of no", "on-failure"),
    job("pktgen: 'null:'\nrestart: [3, soon]"): (4, "'soon' is none of no", "on-failure"),
    job("pktgen: 'null:'\nrestart: [3, 4]"): (4, "several numbers", "[on-failure, 3]"),
    job("capture: 'null:'\nafter: [3s, 4s]"): (4, "several times", "[NAME, 10s]"),
    job("pktgen: 'null:'\nrestart: [no, always]"): (4, "several words", "[on-failure, 3]"),
    job("pktgen: 'null:'\nrestart: {a: b}"): (4, "no value, or more", "VALUE"),
    job("pktgen: 'null:'\nrestart-delay: -1"): (4, "not a time", "10s"),
    job("pktgen: 'null:'\nrestart-delay: 2h"): (4, "too long", "10s"),
    job("pktgen: 'null:'\nrestart-limit: 5"): (4, "not a number and a time", "5 in 10m"),
    job("pktgen: 'null:'\nrestart-limit: 5 in never"): (4, "not a time", "5 in 10m"),
    job("pktgen: 'null:'\nafter: b"): (2, "no job 'b'", "write one of a"),
    job("pktgen: 'null:'\nafter: [a]"): (2, "wait for itself", "circle"),
    job("pktgen: 'null:'\nafter: {a: b}"): (4, "no value, or more", "after: [NAME]"),
    "jobs:\n  a: {pktgen: 'null:', after: b}\n  b: {pktgen: 'null:', after: a}\n": (
        2, "wait for itself", "circle"),
    # what is not YAML, or more than that
    "jobs:\n\ta: 1\n": (2, "cannot start any token", "indentation"),
    "jobs:\n  a: {pktgen: 'null:'\n": (3, "expected", "indentation"),
    "jobs:\n  a:\n    capture: null:\n": (3, "mapping values are not allowed", "ends with a colon"),
    'jobs: {a: "x}\n': (2, "unexpected end of stream", "quote"),
    "jobs:\n  a: {pktgen: 'a\x00b'}\n": (2, r"forbids: U\+0000", "remove"),
    'jobs:\n  a: {pktgen: "a\\0b"}\n': (2, "no option takes", "plain"),
    'jobs:\n  a: {pktgen: "a\\ud800b"}\n': (2, "no option takes", "plain"),
    'jobs:\n  a: {pktgen: "\\UFFFFFFFF"}\n': (2, "too large for YAML", "quote"),
    "%YAML 1." + "9" * 5000 + "\n--- {}\n": (1, "too large for YAML", "quote"),
    b"jobs:\n  a: {pktgen: '\xff'}\n": (2, "not UTF-8", "UTF-8"),
    BOMB: (1, "anchors and aliases", "plain"),
    "jobs: &x\n  a: {pktgen: 'null:'}\n": (1, "anchors and aliases", "plain"),
    "jobs:\n  a: *x\n": (2, "anchors and aliases", "plain"),
    "jobs: !!python/object/apply:os.system ['id']\n": (1, "python/object/apply:o…", "plain"),
    "jobs:\n  a: {pktgen: !!binary aGk=}\n": (2, "tags", "plain"),
    "jobs:\n  a: {pktgen: 'null:'}\n---\njobs:\n": (3, "second document", "one document"),
    "jobs:\n  ? [a]\n  : {pktgen: 'null:'}\n": (2, "a key is a list", "plain"),
    "jobs:\n  a: {pktgen: [[[[['null:']]]]]}\n": (2, "nested too deep", "plain"),
    "[" * 100_000: (1, "nested too deep", "plain"),
    "{a: " * 50_000: (1, "nested too deep", "plain"),
    "jobs:\n" + "".join(f"  j{n}: {{pktgen: 'null:'}}\n" for n in range(65)): (
        1, "more than 64", "split"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=lambda text: repr(text)[:60])
def test_what_is_wrong_is_named_with_its_line(read, text):
    line, message, hint = WRONG[text]
    with pytest.raises(Usage, match=message) as caught:
        read(text)
    assert caught.value.exit_code == 2
    assert f"jobs.yaml:{line}: " in caught.value.message
    assert hint in caught.value.hint
    assert "secret=x" not in caught.value.message


def test_what_would_do_harm_is_refused(read, monkeypatch):
    monkeypatch.setattr("uspnet.cli.confirm.carries_default_route", lambda name: name)
    with pytest.raises(Refused, match=r"jobs.yaml:3: a: packet:lo: .*default route"):
        read(job("pktgen: packet:lo"))
    assert read(job("pktgen: packet:lo\nyes: true"))[0].command == "pktgen"


def test_a_file_that_everybody_may_change_is_refused(read, tmp_path):
    text = job("pktgen: 'null:'")
    read(text)
    (tmp_path / "jobs.yaml").chmod(0o646)
    with pytest.raises(Refused, match="every user may change it") as caught:
        read(text)
    assert caught.value.hint == f"chmod o-w {tmp_path}/jobs.yaml"


def test_nobody_is_asked_while_a_file_is_checked(read, monkeypatch):
    monkeypatch.setattr("uspnet.cli.confirm.carries_default_route", lambda name: name)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr("sys.stderr", Terminal())
    with pytest.raises(Refused):
        read(job("pktgen: packet:lo"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("name", "message"),
    [("/none/jobs.yaml", "No such file"), ("/", "Is a directory"), ("/dev/zero", "256 KiB")],
)
def test_files_that_are_none(name, message):
    with pytest.raises(Usage, match=message) as caught:
        read_entries(name, GROUP)
    assert name in caught.value.message
    assert caught.value.hint


LARGE = {
    "aliases": "x: &x " + "y" * 100_000 + "\njobs: [" + "*x," * 50_000 + "]\n",
    "a long key": "jobs:\n  a: {" + "k" * (FILE_MAX - 100) + ": 1}\n",
    "a long value": "jobs:\n  a: {pktgen: '" + "k" * (FILE_MAX - 100) + "'}\n",
    "too long": "# " + "x" * FILE_MAX,
    "many keys": "jobs:\n  a:\n" + "".join(f"    k{n}: v\n" for n in range(20_000)),
    "many items": "jobs:\n  a:\n    fwd: [" + "x, " * 50_000 + "]\n",
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_a_large_file_takes_little_memory(read, text):
    with pytest.raises(Usage):
        read("jobs: {}\n")  # all is imported
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Usage) as caught:
        read(text)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
    assert len(caught.value.message) < 1000
