# SPDX-License-Identifier: Apache-2.0
"""extcap: what Wireshark asks for, and the capture that it starts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence

from uspnet import __version__
from uspnet.extcap.interfaces import ANY, offers

FLAGS = ("--extcap-interfaces", "--extcap-dlts", "--extcap-config", "--capture")  # without a value
SPECIAL = re.compile(r"[{}\x00-\x1f\x7f]+")  # in a sentence of the protocol
HELP = "https://www.wireshark.org/docs/man-pages/extcap.html"


class Refused(Exception):
    """What Wireshark is to be told."""


def main() -> None:
    """Answer one question, or capture until Wireshark has enough. Raises SystemExit."""
    given = options(sys.argv[1:])
    try:
        if "--capture" in given:
            capture(given)
            return
        sys.stdout.writelines(f"{line}\n" for line in answer(given))
        sys.stdout.flush()
    except Refused as error:
        sys.stderr.write(f"uspnet: {error}\n")
        sys.exit(1)


def options(words: Sequence[str]) -> dict[str, str]:
    """Return the options that were given, and their values. What is none is ignored."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--"):
            continue
        if not equals and name not in FLAGS and rest:
            value = rest.pop(0)
        found[name] = value
    return found


def answer(given: dict[str, str]) -> Iterator[str]:
    """Yield the lines of an answer. Raises Refused."""
    if "--extcap-interfaces" in given:
        yield f"extcap {{version={__version__}}}{{help={HELP}}}{{display=uspnet}}"
        for each in offers():
            if not SPECIAL.search(each.port):
                yield f"interface {{value={each.port}}}{{display={clean(each.display)}}}"
        return
    port = given.get("--extcap-interface", "")
    if not port:
        raise Refused("no interface is named: --extcap-interface")
    if "--extcap-dlts" in given:
        yield "dlt {number=1}{name=EN10MB}{display=Ethernet}"
    elif "--extcap-config" in given:
        yield from config(port)
    elif text := given.get("--extcap-capture-filter"):
        yield from wrong(text)


def config(port: str) -> Iterator[str]:
    """Yield the options of an interface, as a dialogue shows them."""
    if port == ANY.port:
        yield (
            "arg {number=0}{call=--port}{display=Port}{type=string}{required=true}"
            "{tooltip=As on the command line: see PORTS in man uspnet}"
            "{placeholder=memif:/run/m.sock,role=server}"
        )
    else:
        yield (
            "arg {number=0}{call=--port-options}{display=Options of the port}{type=string}"
            "{tooltip=As on the command line, separated by commas}{placeholder=id=1,secret=…}"
        )
    yield (
        "arg {number=1}{call=--snaplen}{display=Bytes of each packet}{type=integer}"
        "{range=0,262144}{default=0}{tooltip=0: all}"
    )


def wrong(text: str) -> Iterator[str]:
    """Yield what is wrong with a capture filter; nothing if it is right."""
    from uspnet.errors import UspnetError  # noqa: PLC0415 - takes longer than all other answers
    from uspnet.packets.filter import choose_by  # noqa: PLC0415

    try:
        choose_by(text)
    except UspnetError as error:
        yield clean(error.lines[0])


def capture(given: dict[str, str]) -> None:
    """Run `uspnet capture`. Raises Refused."""
    fifo = given.get("--fifo")
    if not fifo:
        raise Refused("no FIFO is named: --fifo")
    from uspnet.cli import main as run  # noqa: PLC0415 - takes longer than all answers

    sys.argv[1:] = ["capture", port_of(given), "-w", os.path.abspath(fifo), "-q"]
    if given.get("--snaplen", "0") != "0":
        sys.argv += ["-s", given["--snaplen"]]
    if text := given.get("--extcap-capture-filter"):
        sys.argv += ["-f", text]
    run()


def port_of(given: dict[str, str]) -> str:
    """Return the port to capture from. Raises Refused."""
    port = given.get("--extcap-interface", "")
    if port == ANY.port:
        port = given.get("--port", "")
    if not port or port.startswith("-"):
        raise Refused("no port is named: set it in the options of the interface")
    more = given.get("--port-options", "").strip(", ")
    return f"{port},{more}" if more else port


def clean(text: str) -> str:
    """Return a text as a sentence of the protocol may have it."""
    return SPECIAL.sub(" ", text)
