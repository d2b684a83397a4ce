# SPDX-License-Identifier: Apache-2.0
"""The command: `uspnet`, also as `python -m uspnet`."""

import os
import signal
import sys


def _open_standard_streams() -> None:
    """A closed one would be the next file that is opened, and get what was meant for the stream."""
    while (fd := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(fd)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def main() -> None:
    """Until a job takes the signals over there is nothing to undo, so Ctrl-C just ends us.

    As an exception it would show a traceback, or get lost in some import that catches everything.
    """
    _open_standard_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else: nohup, or `&`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from uspnet.cli import main as run  # noqa: PLC0415 - imports take a while

    run()


if __name__ == "__main__":
    main()
