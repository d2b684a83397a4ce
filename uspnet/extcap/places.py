# SPDX-License-Identifier: Apache-2.0
"""extcap: where Wireshark looks for us, and the program that is put there."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from uspnet.answer import Answer
from uspnet.errors import DeviceFault, NotSupported, Usage
from uspnet.extcap.interfaces import offers
from uspnet.ports.pcap.format import file_error
from uspnet.system import children

NAME = "uspnet"
FOLDER = re.compile(r"^((?:Personal |Global )?Extcap path):\s+(/.*)$", re.MULTILINE)
MARK = "# uspnet extcap --install wrote this\n"
ASK_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ExtcapInterface:
    """A port that Wireshark is shown."""

    port: str
    """The port, as on the command line; `uspnet`: any, which its options name."""
    display: str
    """How the list shows it."""


@dataclass(frozen=True, kw_only=True)
class ExtcapAnswer(Answer):
    """What `extcap` has done, and what Wireshark is shown."""

    file: str | None
    """The program that was installed or removed; null: none was."""
    interfaces: tuple[ExtcapInterface, ...]
    """The ports that there are now."""


def answer(file: str | None) -> ExtcapAnswer:
    """Return the answer. `file`: what was installed or removed."""
    found = tuple(ExtcapInterface(port=each.port, display=each.display) for each in offers())
    return ExtcapAnswer(command="extcap", file=file, interfaces=found)


def install(folder: str | None) -> str:
    """Put a program that starts us where Wireshark looks for such; return its path. `folder`: there
    instead. Raises NotSupported, Usage, and what file_error returns.
    """
    path = Path(folder or _asked()) / NAME
    _check(path)
    text = f"#!{sys.executable} -I\n{MARK}{children.uspnet()[-1]}\n"
    beside = path.with_name(f".{NAME}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.chmod(0o755)
        beside.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise file_error(str(path), error) from None
    return str(path)


def remove(folder: str | None) -> str:
    """Remove the program again; return its path. Raises as `install` does."""
    path = Path(folder or _asked()) / NAME
    _check(path)
    try:
        path.unlink()
    except OSError as error:
        raise file_error(str(path), error) from None
    return str(path)


def _check(path: Path) -> None:
    """Raise Usage for a file that is not ours."""
    with contextlib.suppress(OSError):
        if MARK not in path.read_text(errors="replace"):
            raise Usage(f"{path} was not written by uspnet", "remove it, or name another --folder")


def _asked() -> str:
    """Return the folder that tshark names: one's own, for other users than root, where it has one.
    Raises NotSupported.
    """
    hint = "apt-get install tshark, or name the folder: --folder (Help, About Wireshark, Folders)"
    program = children.find_program("tshark")
    if not program:
        raise NotSupported("tshark is not installed, which knows the folder", hint)
    try:
        done = subprocess.run(  # noqa: S603 - a list of our own words
            [program, "-G", "folders"],
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
            env=children.environment() | {"HOME": str(Path.home())},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceFault(f"tshark -G folders: {error}", hint) from None
    found: dict[str, str] = dict(FOLDER.findall(done.stdout))
    order = ["Personal Extcap path", "Extcap path", "Global Extcap path"]
    if os.geteuid() == 0:
        order.reverse()
    folder = next((found[name] for name in order if name in found), None)
    if not folder:
        raise NotSupported("tshark -G folders names no folder for extcap", hint)
    return folder.strip()
