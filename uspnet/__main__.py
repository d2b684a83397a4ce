# SPDX-License-Identifier: Apache-2.0
"""The command: `uspnet`, also as `python -m uspnet`."""

import signal


def main() -> None:
    """Until a job takes the signals over there is nothing to undo, so Ctrl-C just ends us.

    As an exception it would show a traceback, or get lost in some import that catches everything.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else: nohup, or `&`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from uspnet.cli import main as run  # noqa: PLC0415 - imports take a while

    run()


if __name__ == "__main__":
    main()
