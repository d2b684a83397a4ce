# SPDX-License-Identifier: Apache-2.0
"""Turn errors into a message, a hint and an exit code; nothing else does."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys

import typer
from typer.exceptions import TyperException

from uspnet.cli.mistakes import mistake
from uspnet.errors import NoMemory, NotPermitted, Usage, UspnetError
from uspnet.system import kept, streams
from uspnet.text import printable


def run(app: typer.Typer, args: list[str]) -> int:
    """Run the command line. Return the exit code: 0, 1, 2, 3, 4, or 130 for Ctrl-C."""
    as_json = "--json" in args
    command = typer.main.get_command(app)
    try:
        result = command(args, prog_name="uspnet", standalone_mode=False)
    except typer.Abort:
        return 130
    except TyperException as error:
        return _as(mistake(error, command, args), as_json)
    except BrokenPipeError:  # the reader has left: nobody to tell
        return 1
    except (UspnetError, OSError, MemoryError, UnicodeError) as error:
        return _as(_told(error), as_json)
    return result if isinstance(result, int) else 0


def _told(error: Exception) -> UspnetError:
    """Return the error as one of uspnet/errors.py."""
    match error:
        case UspnetError():
            return error
        case PermissionError():
            return NotPermitted(_text(error), "run as root, or see: uspnet doctor")
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return NoMemory(_text(error), "raise the limit: ulimit -n")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT, filename=None):  # files have names
            return UspnetError(f"stdout: {error.strerror}", "free some space")
        case OSError():
            return UspnetError(_text(error), "see: uspnet doctor")
        case MemoryError():
            return NoMemory("out of memory", "use smaller rings, or fewer queues")
    return Usage(f"invalid bytes in a name: {error}", "see: uspnet --help")


def finish(code: int) -> int:
    """Flush stdout. Return the exit code: `code`, or 1 if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(streams.null(), sys.stdout.fileno())  # Python tries once more
        if not isinstance(error, BrokenPipeError):
            tell(UspnetError(f"stdout: {error.strerror}", "free some space"), as_json=False)
        return code or 1
    return code


def _text(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


def _as(error: UspnetError, as_json: bool) -> int:
    if kept.former():  # also before there is a job: somebody has asked for this version
        from uspnet.cli import again

        if again.fail(error) and not as_json:
            from uspnet.cli.views import console, summary

            console.show_lines(summary.format_summary(error.partial or {}, None), file=sys.stderr)
    tell(error, as_json=as_json)
    return error.exit_code


def tell(error: UspnetError, *, as_json: bool) -> None:
    """Print an error: one JSON object on stdout under `--json`, else two lines on stderr."""
    if as_json:
        with contextlib.suppress(OSError):  # a full disk, say: then stderr gets it
            print(json.dumps(error.as_dict()), flush=True)
            return
    lines = "\n".join(map(printable, error.lines))
    print(f"uspnet: {lines}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {printable(error.hint)}", file=sys.stderr)
