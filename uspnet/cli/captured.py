# SPDX-License-Identifier: Apache-2.0
"""Options of `capture`: which packets are captured, and into which files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import options as o
from uspnet.cli.command import SCHEME
from uspnet.errors import Usage
from uspnet.ports.pcap.kinds import SNAPLEN_MAX, Format

if TYPE_CHECKING:
    from uspnet.packets.filter import Filter

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILTER]",
        help="Capture only what this filter of libpcap's accepts: tcp port 443. Quote it where the "
        "shell would read it: '(arp or icmp)'.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "-f", "--filter", metavar="FILTER", help="The same as one word: -f 'tcp port 443'."
    ),
]
Listing = Annotated[
    bool, typer.Option("-d", "--list-filter", help="Print the compiled filter, and exit.")
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


def filter_of(option: str | None, words: Sequence[str] | None) -> Filter | None:
    """Compile the filter that -f or the words behind PORT are; None: there is none. Raises as
    compile_filter does.
    """
    from uspnet.packets.filter import compile_filter
    from uspnet.ports.registry import schemes

    if option is not None and words:
        text = f"there are two filters: -f {option!r} and {' '.join(words)!r}"
        raise Usage(text, "join them by: and")
    for word in words or ():
        if (found := SCHEME.match(word)) and found[0][:-1] in schemes():
            hint = "capture takes one port, and a filter"
            raise Usage(f"unexpected argument {word[:40]!r}", hint)
    text = option if option is not None else " ".join(words or ())
    return compile_filter(text) if text or option is not None else None


def show_filter(only: Filter | None, *, json: bool) -> None:
    """Print the compiled filter. Raises Usage if there is none."""
    from uspnet.cli.views.console import print_json
    from uspnet.jobs.listing import FilterAnswer, Instruction

    if only is None:
        raise Usage("-d prints the compiled filter, and none is given", "add one: tcp port 443")
    if json:
        steps = tuple(Instruction(*step) for step in only.steps)
        print_json(FilterAnswer(command="capture", filter=only.text, program=steps).as_json())
    else:
        print(*only.listing(), sep="\n")
