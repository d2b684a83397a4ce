# SPDX-License-Identifier: Apache-2.0
"""`python -m uspnet`, and the command itself: Ctrl-C is no error, not even while it is loading."""

import sys


def main() -> None:
    """The entry point."""
    try:
        from uspnet.cli import main as run  # noqa: PLC0415 - what takes long
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
