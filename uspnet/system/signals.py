# SPDX-License-Identifier: Apache-2.0
"""The signals that end a run gracefully."""

from __future__ import annotations

import signal


def end_signals() -> list[signal.Signals]:
    """Return SIGINT and SIGTERM, and SIGHUP unless it was ignored at start, as `nohup` sets it.

    SIGINT counts even if it is ignored: shells ignore it for what scripts start by `&`, and scripts
    end a capture by it all the same.
    """
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]
