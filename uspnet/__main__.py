# SPDX-License-Identifier: Apache-2.0
"""The command: `uspnet`, also as `python -m uspnet`."""

import contextlib
import os
import pwd
import signal
import sys

from uspnet.system import streams

# What Python itself says when it has no memory for a thread, or for the exception that says so.
PYTHONS = ("new thread", "without exception set", "without setting an exception")


def _leave_the_folder() -> None:
    """`python -m` looks for modules where the user stands, first of all. Nothing comes from there,
    unless we do.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    here = {""}
    with contextlib.suppress(OSError):  # a folder that was removed has no name, and no modules
        here.add(os.getcwd())
    if sys.path and sys.path[0] in here and sys.path[0] != home:
        del sys.path[0]


def _go_home() -> None:
    """Root's caches are in root's home (Scapy has one), wherever the environment says it is: by
    `sudo -E` that may be another user's, with links that lead anywhere. Nor do libraries run
    programs for root (ctypes asks gcc for what it can't find) from another user's folders.
    """
    if os.geteuid() == 0:
        from uspnet.system.children import SAFE_PATH  # noqa: PLC0415 - from a safe path

        os.environ["PATH"] = SAFE_PATH
        with contextlib.suppress(KeyError):
            os.environ["HOME"] = pwd.getpwuid(0).pw_dir
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            os.environ.pop(name, None)


def _tell(error: ImportError | MemoryError) -> None:
    """Say that code can't be loaded, with little more memory than there is."""
    text = str(error) or "out of memory"
    hint = f"see: ulimit -v; or install it anew: {sys.executable} -m pip install -I uspnet"
    if "--json" in sys.argv:
        import json  # noqa: PLC0415 - rarely needed

        kind = "NoMemory" if isinstance(error, MemoryError) else "UspnetError"
        sys.stdout.write(json.dumps({"error": kind, "message": text, "hint": hint}) + "\n")
    else:
        sys.stderr.write(f"uspnet: {text}\n  hint: {hint}\n")


def main() -> None:
    """Until a job takes the signals over there is nothing to undo, so Ctrl-C just ends us.

    As an exception it would show a traceback, or get lost in some import that catches everything.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else: nohup, or `&`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, no child can be waited for
    streams.prepare()
    _leave_the_folder()
    _go_home()
    if any("secret=" in word for word in sys.argv):
        from uspnet.cli.arguments import hide_secrets  # noqa: PLC0415 - rarely needed

        hide_secrets()
    try:
        if any(word.startswith("--extcap-") for word in sys.argv[1:]):
            from uspnet.extcap.protocol import main as run  # noqa: PLC0415 - without all the rest
        else:
            from uspnet.process import early  # noqa: PLC0415 - as below

            early.begin(sys.argv[1:])
            from uspnet.cli import main as run  # noqa: PLC0415 - imports take a while

        run()
    except (ImportError, MemoryError) as error:
        _tell(error)
        sys.exit(1)
    except (RuntimeError, SystemError) as error:
        if not any(text in str(error) for text in PYTHONS):
            raise
        _tell(MemoryError(str(error)))
        sys.exit(1)


if __name__ == "__main__":
    main()
