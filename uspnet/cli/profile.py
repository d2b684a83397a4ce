# SPDX-License-Identifier: Apache-2.0
"""`pktgen --profile`: a file of streams, each of which has the options of a `pktgen` of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, cast

import typer

from uspnet import units
from uspnet.cli import options as o
from uspnet.cli.examples import show_example
from uspnet.cli.replay import SPELT
from uspnet.errors import Usage
from uspnet.jobs.choices import DURATION_MAX
from uspnet.text import printable

if TYPE_CHECKING:
    from uspnet.cli.jobs_file.tree import Node, Place
    from uspnet.cli.jobs_file.tree import Scalar as Text
    from uspnet.cli.jobs_file.words import Click, Reader
    from uspnet.cli.measured import Measured
    from uspnet.jobs.generate import GenerateJob
    from uspnet.jobs.job import AnyJob
    from uspnet.jobs.plan import Limits
    from uspnet.jobs.saving import Files
    from uspnet.jobs.stream import Stream
    from uspnet.port import Port as AnyPort

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
OWN = ("port", "start", "stop")
OPTIONS = frozenset({
    "size", "rate", "link", "ramp", "burst-size", "burst-gap", "poisson", "packet", "pcap", "vary",
    "flows", "zipf", "seed", "sequence", "src-mac", "dst-mac", "src-ip", "dst-ip", "src-port",
    "dst-port", "duration", "count",
})  # fmt: skip
BESIDE = frozenset({
    "port", "profile", "dry_run", "write", "linger", "yes", "fail_on_loss", "duration", "cores",
    "burst", "poll", "reconnect", "in_process", "restart", "sandbox", "no_sandbox", "require",
    "interval", "json", "quiet", "verbose", "rx_port", "save", "plot", "lost", "per_flow",
})  # fmt: skip
EXAMPLE = "write a stream: web: {rate: 10k, size: imix}; see: uspnet pktgen --example profile"

Port = Annotated[
    str | None,
    typer.Argument(
        metavar="PORT",
        help="A port, such as memif:/run/m.sock; see PORTS in man uspnet. With --profile, that of "
        "the streams that name none.",
        show_default=False,
    ),
]
File = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="FILE.yaml",
        callback=o.file_name,
        help="Send the streams of a file, YAML or JSON, each at a rate, with packets and an end of "
        "its own; - is stdin. Below the key streams, each has a name, and these options by their "
        "long names: packet, pcap, size, vary, rate, count, duration and the like; start and stop, "
        "seconds after the start of the run; and port, instead of PORT. An example is printed by "
        "--example profile.",
    ),
]


@dataclass(frozen=True)
class Profiles:
    """The file of streams, the port of those that name none, and the example to print: the values
    of the options.
    """

    file: str | None
    port: str | None
    example: str | None = None

    def check(self, given: set[str]) -> None:
        """Raise Usage for options given beside --profile that belong into its file. Raise Exit when
        an example was printed, and nothing else is to be done.
        """
        if self.example is not None:
            for name in sorted(given - {"port", "example"}):
                option = "--" + SPELT.get(name, name.replace("_", "-"))
                hint = f"drop {option}; what is printed can be changed, and run"
                raise Usage(f"{option} conflicts with --example", hint)
            show_example(self.example, self.port)
            raise typer.Exit
        if self.file is None:
            if self.port is None:
                raise Usage("PORT is missing", "see: uspnet pktgen --help")
            return
        for name in sorted(given - BESIDE):
            option = "--" + SPELT.get(name, name.replace("_", "-"))
            hint = f"drop {option}"
            if name.replace("_", "-") in OPTIONS:
                hint = f"write it in the file, below a stream: {option.removeprefix('--')}: …"
            raise Usage(f"{option} conflicts with --profile", hint)

    def job(
        self,
        limits: Limits,
        written: dict[str, str | None],
        group: Click,
        measured: Measured,
        files: Files,
    ) -> AnyJob:
        """Return the job that sends the streams, and measures them; or a dry run, which writes them
        to a file. `written`: files that are, by option; `group`: all commands. Raise Usage, which
        names the line, and Refused.
        """
        from uspnet.cli.offered import check_files
        from uspnet.jobs.capture import make_sink
        from uspnet.jobs.profile import ProfileJob

        write = written["-w"]
        name, dry, numbered = self.file or "", write is not None, measured.rx_port is not None
        ports: dict[str, AnyPort] = {}
        read: list[str] = []
        streams = read_streams(name, self.port, group, ports, read, dry=dry, numbered=numbered)
        outs = {f"port {spec}": port.spec.given.get("out") for spec, port in ports.items()}
        check_files(written | ({} if dry else outs), {f"pcap of {name}": read})
        if write is not None:
            sink = make_sink(write)
            streams = [replace(each, port=sink) for each in streams]
            return ProfileJob(streams, limits, name, dry=True)
        job = ProfileJob(streams, limits, name, measured.port(ports), files)
        if measured.per_flow:
            job.order_flows()
        return job


def read_streams(
    name: str,
    port: str | None,
    group: Click,
    ports: dict[str, AnyPort] | None = None,
    read: list[str] | None = None,
    *,
    dry: bool = False,
    numbered: bool = False,
) -> list[Stream]:
    """Read and check a file of streams. `port`: of those that name none; `group`: all commands;
    `dry`: no port is needed; `numbered`: all have sequence numbers. Their ports are added to
    `ports`, by how they are written, and the captures that they send to `read`. Raise Usage, which
    names the line, and Refused.
    """
    from uspnet.cli.jobs_file.tree import Mapping, Place, below, read_tree
    from uspnet.jobs.measure import STREAMS_MAX

    place = Place(name)
    line, streams = below(place, read_tree(name, "streams"), "streams")
    if not isinstance(streams, Mapping) or not streams.items:
        raise place.wrong(line, "streams: names no stream", EXAMPLE)
    if len(streams.items) > STREAMS_MAX:
        raise place.wrong(line, f"streams: more than {STREAMS_MAX}", "split the file")
    made = {} if ports is None else ports
    spec = "null:" if dry and port is None else port
    captures = [] if read is None else read
    reading = Reading(place, group, spec, made, captures, numbered=numbered)
    found = [_stream(reading, key, value) for key, value in streams.items.items()]
    if port is not None and port not in made:
        hint = "drop PORT, or the port of a stream"
        raise place.wrong(line, f"every stream has a port, and none is sent to {port}", hint)
    return found


@dataclass(frozen=True)
class Reading:
    """A file that is read. `port`: of streams that name none; `ports`: those of the streams so far,
    by how they are written; `captures`: the files that they send; `numbered`: all have sequence
    numbers.
    """

    place: Place
    group: Click
    port: str | None
    ports: dict[str, AnyPort]
    captures: list[str]
    numbered: bool


def _stream(reading: Reading, key: Text, value: Node) -> Stream:
    """Read one stream."""
    from uspnet.cli.jobs_file.entries import on_trial_with
    from uspnet.cli.jobs_file.tree import Mapping, Scalar, named
    from uspnet.cli.jobs_file.words import Reader
    from uspnet.jobs.stream import Stream

    name, place, group = key.text, reading.place, reading.group
    command = group.commands["pktgen"]
    if not NAME.fullmatch(name):
        text = f"{printable(name, 40)!r} can't be a stream's name"
        raise place.wrong(key.line, text, "use up to 32 letters, digits, - _ and .")
    if not isinstance(value, Mapping):
        empty = isinstance(value, Scalar) and value.is_empty()
        text = "has no keys" if empty else "is no mapping of keys"
        raise place.wrong(key.line, f"{name}: {text}", EXAMPLE)
    reader = Reader(place, name, command, OPTIONS, OWN)
    own: dict[str, tuple[int, str]] = {}
    for each, (line, node) in named(value).items():
        if each in OWN:
            own[each] = line, reader.text(each, node)
        else:
            reader.option(each, line, node)
    times = _times(reader, own)
    _number(reader, numbered=reading.numbered)
    line, spec = own.get("port", (key.line, reading.port))
    if spec is None:
        raise reader.wrong(key.line, "has no port", "add port: packet:eth1, or give PORT")
    reader.words.lines |= {"pktgen": line, **{each: at for each, (at, _) in own.items()}}
    reader.words.ports.append(spec)
    given = (word.partition("=") for word in reader.words.options)
    reading.captures.extend(name for option, _, name in given if option == "--pcap")
    job = cast("GenerateJob", on_trial_with(place, name, command, group, reader.words))
    to = reading.ports.setdefault(spec, job.port)
    return Stream(name, to, job.traffic, times.get("start", 0.0), job.limits.duration,
                  job.limits.count)  # fmt: skip


def _number(reader: Reader, *, numbered: bool) -> None:
    """Have a stream that is measured carry sequence numbers."""
    if not numbered:
        return
    if "--no-sequence" in reader.words.options:
        text = "sequence: it can't be measured without sequence numbers"
        raise reader.wrong(reader.words.lines["sequence"], text, "drop it, or drop --rx-port")
    reader.words.options.append("--sequence")


def _times(reader: Reader, own: dict[str, tuple[int, str]]) -> dict[str, float]:
    """Read start and stop; the time between becomes the duration of the stream."""
    read = units.time_between(0.0, DURATION_MAX)
    found: dict[str, float] = {}
    for key in ("start", "stop"):
        if key in own:
            line, text = own[key]
            try:
                found[key] = read(text)
            except units.Unreadable as error:
                text = f"{key}: {printable(text, 40)!r}: {error}"
                raise reader.wrong(line, text, error.hint) from None
    if "stop" not in found:
        return found
    line = own["stop"][0]
    if "duration" in reader.words.lines:
        text = "stop and duration say the same"
        raise reader.wrong(line, text, "keep one of them")
    lasts = found["stop"] - found.get("start", 0.0)
    if lasts <= 0:
        raise reader.wrong(line, "stop: is not after start", "give a later time, in seconds: 10s")
    reader.words.options.append(f"--duration={lasts!r}")
    reader.words.lines["duration"] = line
    return found
