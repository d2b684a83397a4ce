# SPDX-License-Identifier: Apache-2.0
"""Options of `capture`: which packets are captured, and into which files."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import options as o
from uspnet.cli.command import SCHEME
from uspnet.errors import Usage
from uspnet.jobs.choices import COUNT_MAX, DURATION_MAX
from uspnet.pci.address import full_address
from uspnet.ports.pcap.kinds import SNAPLEN_MAX, Compression, Format, Writing
from uspnet.spec import Values, shown

if TYPE_CHECKING:
    from uspnet.packets.filter import Filter
    from uspnet.ports.pcap.rotation import Rotation
    from uspnet.ports.pcap.sink import Sink
    from uspnet.ports.pcap.trigger import Trigger

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PORT]… [FILTER]",
        help="Further ports, all of which go into one file; then a filter of libpcap's, and only "
        "what it accepts is captured: tcp port 443. Quote it where the shell would read it: "
        "'(arp or icmp)'.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "-f", "--filter", metavar="FILTER", help="The same as one word: -f 'tcp port 443'."
    ),
]
Listing = Annotated[
    bool,
    typer.Option("-d", "--list-filter", help="Print the compiled filter, and exit; needs no PORT."),
]
Write = Annotated[str | None, o.written("Write packets to FILE; -: to stdout.")]
Kind = Annotated[Format, typer.Option("-F", "--format", help="Capture file format.")]
SnapLen = Annotated[
    int,
    typer.Option(
        "-s",
        "--snaplen",
        metavar="BYTES",
        parser=units.whole(0, SNAPLEN_MAX),
        help="Bytes to keep of each packet; 0: all.",
    ),
]
Buffer = Annotated[
    int,
    typer.Option(
        "-B",
        "--buffer",
        metavar="MIB",
        parser=units.whole(1, 4096),
        help="MiB of buffer between port and file, 1 to 4096.",
    ),
]
Autostop = Annotated[
    list[str] | None,
    typer.Option(
        "-a",
        "--autostop",
        metavar="CONDITION",
        help="Stop after duration:TIME or packets:N, as --duration and --count do; after a file of "
        "filesize:KB; with -b, after files:N.",
    ),
]
RingBuffer = Annotated[
    list[str] | None,
    typer.Option(
        "-b",
        "--ring-buffer",
        metavar="CONDITION",
        help="Write several files, x_00001_20260102030405.pcapng and so on, each complete by "
        "itself: the next one after filesize:KB, packets:N, duration:TIME, or when the time is a "
        "multiple of interval:TIME. files:N deletes the oldest when there are more; printname:FILE "
        "names each that is complete (-: stdout); nametimenum:2 has the time before the number.",
    ),
]
GroupRead = Annotated[
    bool, typer.Option("-g", "--group-read", help="Let the group of new files read them.")
]
Comments = Annotated[
    list[str] | None,
    typer.Option("--capture-comment", metavar="TEXT", help="Write this comment into the file."),
]
Compress = Annotated[
    Compression,
    typer.Option(
        "--compress", help="Compress the file; Wireshark reads it so, and as far as it was written."
    ),
]
Writing_ = Annotated[
    Writing,
    typer.Option(
        "--writing",
        help="How files go to the disk: direct is past the page cache, in blocks of 2 MiB, and "
        "takes less of a processor. auto: so where the file system can.",
    ),
]
UpdateInterval = Annotated[
    int | None,
    typer.Option(
        "--update-interval",
        metavar="MS",
        parser=units.whole(1, 60_000),
        help="Write packets to the file after so many ms at the latest. Default: 100.",
    ),
]
Statistics = Annotated[
    bool, typer.Option("-S", "--statistics", help="Report every second: --interval 1.")
]
KB, KB_MAX = 1000, 2_000_000_000  # as dumpcap has them
COMMENT_MAX = 65_535  # bytes, of an option of pcapng
COMMENTS_MAX = 98_304  # bytes of all; with the command and the filter, they fit into a chunk
COMMENT_HEADER = 8  # bytes, with padding
OF_FILES = {  # parameters that need a file
    "kind": "--format",
    "snaplen": "--snaplen",
    "cut": "--slice",
    "buffer": "--buffer",
    "ring": "--ring-buffer",
    "group_read": "--group-read",
    "comments": "--capture-comment",
    "pre_trigger": "--pre-trigger",
    "compress": "--compress",
    "update_interval": "--update-interval",
    "writing": "--writing",
}
STOPS: dict[str, Callable[[str], object]] = {
    "duration": units.time_between(1e-6, DURATION_MAX),
    "packets": units.whole(1, COUNT_MAX),
    "filesize": units.whole(1, KB_MAX),
    "files": units.whole(1, 100_000),
}
TURNS: dict[str, Callable[[str], object]] = {
    "filesize": units.whole(1, KB_MAX),
    "packets": units.whole(1, COUNT_MAX),
    "duration": units.time_between(0.1, DURATION_MAX),
    "interval": units.time_between(1, DURATION_MAX),
    "files": units.whole(1, 100_000),
    "nametimenum": units.whole(1, 2),
    "printname": str,
}
ENDS = ("filesize", "packets", "duration", "interval")  # of a file
INTERFACE = re.compile(r"--interface=|-i")  # before a port, in one word


def conditions(
    option: str, texts: Sequence[str] | None, readers: Mapping[str, Callable[[str], object]]
) -> Values:
    """Read the values of an option such as -a: `packets:1000`. Raises Usage."""
    found: dict[str, object] = {}
    for text in texts or ():
        name, colon, value = text.partition(":")
        if not colon or name not in readers:
            hint = f"write one of: {', '.join(f'{option} {each}:VALUE' for each in readers)}"
            raise Usage(f"{option} {text[:40]!r}: no such condition", hint)
        if name in found:
            raise Usage(f"{option} {name}: is given twice", "drop one of them")
        try:
            found[name] = readers[name](value)
        except units.Unreadable as error:
            raise Usage(f"{option} {text[:40]!r}: {error}", error.hint) from None
    return found


def rotation_of(
    ring: Sequence[str] | None, autostop: Sequence[str] | None, *, json: bool
) -> Rotation | None:
    """Return when files end, by -b and -a; None: never. Raises Usage."""
    from uspnet.cli.printname import teller
    from uspnet.ports.pcap.parts import ENDLESS
    from uspnet.ports.pcap.rotation import Rotation

    turns, stops = conditions("-b", ring, TURNS), conditions("-a", autostop, STOPS)
    if not turns and "files" in stops:
        raise Usage("-a files needs -b", "say when a file ends: -b filesize:KB")
    if turns and not any(name in turns for name in ENDS):
        raise Usage("-b does not say when a file ends", "add -b filesize:KB, or -b duration:TIME")
    if turns and "filesize" in stops:
        raise Usage("-a filesize ends a single file", "write -b filesize:KB -a files:N")
    if not turns and "filesize" not in stops:
        return None
    size = turns.get("filesize", stops.get("filesize"))
    return Rotation(
        octets=size * KB if size else ENDLESS,
        packets=turns.get("packets", ENDLESS),
        duration=turns.get("duration", 0.0),
        interval=turns.get("interval", 0.0),
        turns=bool(turns),
        keep=turns.get("files", 0),
        stop=stops.get("files", 0),
        time_first=turns.get("nametimenum") == 2,
        tell=teller(turns["printname"], json=json) if "printname" in turns else None,
    )


def stops(
    texts: Sequence[str] | None, duration: float | None, count: int | None
) -> tuple[float | None, int | None]:
    """Return the limits of the run, by -a or by --duration and --count. Raises Usage."""
    found = conditions("-a", texts, STOPS)
    for name, given in (("duration", duration), ("packets", count)):
        if given is not None and name in found:
            raise Usage(f"-a {name}: is given twice", "drop one of the two options")
    return found.get("duration", duration), found.get("packets", count)


def split(words: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return the further ports that the words begin with, and those of the filter. Raises Usage."""
    found = list(words or ())
    number = next((n for n, word in enumerate(found) if not _is_port(word)), len(found))
    ports, rest = found[:number], found[number:]
    for word in rest:
        if _is_port(word):
            hint = "ports stand before the filter: uspnet capture PORT PORT tcp port 443"
            raise Usage(f"unexpected argument {word[:40]!r}", hint)
    return ports, rest


def _is_port(word: str) -> bool:
    from uspnet.ports.registry import schemes

    found = SCHEME.match(word)
    return bool(found and found[0][:-1] in schemes()) or bool(full_address(word.partition(",")[0]))


def filter_of(option: str | None, words: Sequence[str]) -> Filter | None:
    """Compile the filter that -f or the words behind the ports are; None: there is none. Raises as
    choose_by does.
    """
    from uspnet.packets.filter import choose_by

    if option is not None and words:
        text = f"there are two filters: -f {option!r} and {' '.join(words)!r}"
        raise Usage(text, "join them by: and")
    text = option if option is not None else " ".join(words)
    return choose_by(text) if text or option is not None else None


def sink_of(
    context: typer.Context,
    path: str | None,
    kind: Format,
    sizes: tuple[int, int],
    comments: Sequence[str] | None,
    rotation: Rotation | None = None,
    ports: int = 1,
    trigger: Trigger | None = None,
    **options: object,
) -> Sink | None:
    """Return the port of the capture file; None: packets are only counted. `sizes`: bytes to keep
    of each packet, and MiB of buffer. Raises Usage for options of a file that is not written.
    """
    from uspnet.jobs.capture import make_sink
    from uspnet.ports.pcap.making import Making
    from uspnet.ports.pcap.trigger import make_armed

    if path:
        if ports > 1 and kind is not Format.pcapng:
            hint = "write pcapng, which says of each packet where it came in"
            raise Usage(f"{kind.value} files are of one port", hint)
        if comments and kind is not Format.pcapng:
            hint = "drop --capture-comment, or write pcapng"
            raise Usage(f"{kind.value} files have no comments", hint)
        _check_lengths(comments or ())
        kept, buffer = sizes[0] or SNAPLEN_MAX, sizes[1]
        if trigger:
            options |= {"format": kind.value, "snaplen": kept, "buffer": buffer}
            sink: Sink = make_armed(path, trigger, rotation, **options)
        else:
            sink = make_sink(path, kind.value, kept, buffer, rotation, **options)
        sink.comments = comments or ()
        sink.making = Making(command=command_line())
        return sink
    for name, letter in OF_FILES.items():
        if o.was_given(context, name):
            raise Usage(f"{letter} needs -w FILE", f"add -w FILE, or drop {letter}")
    if rotation:  # -b has been refused
        raise Usage("-a filesize needs -w FILE", "add -w FILE, or drop it")
    return None


def _check_lengths(comments: Sequence[str]) -> None:
    """Raise Usage for comments that are too long, each or together."""
    octets = [len(text.encode(errors="replace")) for text in comments]
    if max(octets, default=0) > COMMENT_MAX:
        raise Usage("--capture-comment: too long", f"at most {COMMENT_MAX:,} bytes")
    if sum(octets) + COMMENT_HEADER * len(octets) > COMMENTS_MAX:
        hint = f"at most {COMMENTS_MAX:,} bytes in all"
        raise Usage("--capture-comment: the comments are too long", hint)


def command_line() -> str:
    """Return the command as it was typed, without secrets in port specs."""
    return shlex.join(["uspnet", *map(_plain, sys.argv[1:])])


def _plain(word: str) -> str:
    """Return a word of the command line without what is secret in it."""
    option = INTERFACE.match(word)
    at = option.end() if option else 0
    return word[:at] + shown(word[at:]) if SCHEME.match(word, at) else word


def show_filter(filters: Sequence[Filter | None], *, json: bool) -> None:
    """Print the compiled filter of ports. Raises Usage if there is none, or more than one."""
    from uspnet.cli.trial import is_on_trial
    from uspnet.cli.views.console import print_json
    from uspnet.jobs.listing import FilterAnswer, Instruction

    if is_on_trial():
        raise Usage("--list-filter prints, and captures nothing", "drop it")
    only = filters[0]
    if len({each.text if each else "" for each in filters}) > 1:
        raise Usage("-d prints one filter, and ports have their own", "name one port")
    if only is None:
        raise Usage("-d prints the compiled filter, and none is given", "add one: tcp port 443")
    if json:
        steps = tuple(Instruction(*step) for step in only.steps)
        print_json(FilterAnswer(command="capture", filter=only.text, program=steps).as_json())
    else:
        print(*only.listing(), sep="\n")
