# SPDX-License-Identifier: Apache-2.0
"""Starting child processes. Neither the current folder nor the environment, but for the variables
named here, has an effect on what runs in them.
"""

from __future__ import annotations

import functools
import os
import shutil
import stat
import sys
from pathlib import Path

from uspnet.errors import NoDevice, Refused

SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Variables that a child gets: language, time zone, folder for temporary files, and QEMU.
KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "TMPDIR", "USPNET_QEMU")
NEEDED = (
    "uspnet",
    "typer",
    "rich",
    "_cffi_backend",
    "pyroute2",
)  # packages whose folders a child gets
LINKS_MAX = 40  # as the kernel has it
LAUNCH = "import sys; sys.path += [p for p in {folders} if p not in sys.path]; "


def environment() -> dict[str, str]:
    """Return the whole environment of a child."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PATH": SAFE_PATH}


def find_program(name: str) -> str | None:
    """Return the absolute path of a program; None if there is none, or only one that depends on the
    current folder. For root, only the system's own folders count.
    """
    if os.sep in name:
        return shutil.which(name) if os.path.isabs(name) else None
    folders = SAFE_PATH if os.geteuid() == 0 else os.environ.get("PATH", SAFE_PATH)
    return shutil.which(name, path=os.pathsep.join(filter(os.path.isabs, folders.split(":"))))


def chosen_program(program: str, what: str = "would run as root") -> str:
    """Return the resolved path of a program that the user names. For root, only root, or a user who
    can replace our own code, may be able to replace it. `what`: what it would do. Raises Refused,
    NoDevice.
    """
    if os.geteuid() != 0:
        return program
    whole = Path(program).resolve()
    for each in (whole, *whole.parents):
        _check_owner(each, program, what)
    return str(whole)


def check_way(path: str, what: str) -> None:
    """Check as `chosen_program` does, for root, that nobody else can change what an absolute path
    leads to: neither any folder on the way nor any symbolic link. Raises Refused, NoDevice.
    """
    way = list(Path(path).parts[1:])
    at, links = Path("/"), 0
    while way and os.geteuid() == 0:
        step = at / way.pop(0)
        _check_owner(step, path, what)
        if not step.is_symlink():
            at = step.parent.parent if step.name == ".." else step
            continue
        links += 1
        if links > LINKS_MAX:
            raise NoDevice(f"{path}: too many symbolic links", "name another program")
        target = Path(os.readlink(step))
        way = [*target.parts[target.is_absolute() :], *way]
        at = Path("/") if target.is_absolute() else at


def check_tree(folder: Path, what: str) -> None:
    """Check the same of all files in a folder, the way to which is checked. Raises Refused."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _check_owner(os.path.join(place, name), str(folder), what)


@functools.cache
def _folders_of(file: str) -> tuple[frozenset[str], os.stat_result]:
    """Return the folders that our own code lies in, and whose it is."""
    code = Path(file).resolve()
    return frozenset(map(str, code.parents)), code.stat()


def _check_owner(path: Path | str, program: str, what: str) -> None:
    """Check one file, folder or symbolic link. Folders that our own code lies in are as good."""
    folders, ours = _folders_of(__file__)
    if str(path) in folders:
        return
    try:
        status = os.lstat(path)
    except OSError:
        raise NoDevice(f"{program} does not exist", "name another program") from None
    group = status.st_mode & stat.S_IWGRP and status.st_gid not in (0, ours.st_gid)
    others = (status.st_mode & stat.S_IWOTH or group) and not status.st_mode & stat.S_ISVTX
    if stat.S_ISLNK(status.st_mode):
        others = 0  # its mode says nothing
    if status.st_uid not in (0, ours.st_uid) or others:
        text = f"{program} {what}, and {path} is another user's or open to others"
        raise Refused(text, "name a program that is root's, in folders that are root's")


def python(code: str, *arguments: str, site: bool = True) -> list[str]:
    """Return the command that runs `code` in this very interpreter, isolated. It finds the packages
    that this process has loaded, after those of the interpreter itself; these alone without `site`,
    whose import takes longer than all else that little code needs.
    """
    begin = LAUNCH.format(folders=_folders())
    return [sys.executable, "-I", *([] if site else ["-S"]), "-c", begin + code, *arguments]


def uspnet(*arguments: str) -> list[str]:
    """Return the command that runs uspnet with these arguments."""
    return python("from uspnet.__main__ import main; main()", *arguments)


def _folders() -> list[str]:
    """Return the folders that our own package and those it needs were loaded from, each once."""
    files = (getattr(sys.modules.get(name), "__file__", None) for name in NEEDED)
    paths = (Path(file) for file in files if file)
    whole = (path.parent.parent if path.stem == "__init__" else path.parent for path in paths)
    return list(dict.fromkeys(str(folder.absolute()) for folder in whole))
