# SPDX-License-Identifier: Apache-2.0
"""Which signals end a run in good order."""

from __future__ import annotations

import signal


def end_signals() -> list[signal.Signals]:
    """Ctrl-C and SIGTERM; SIGHUP, too, unless it was ignored when we came, as `nohup` has it.

    SIGINT counts in any case: shells ignore it for what scripts start by `&`, and scripts end a
    capture by it all the same.
    """
    hang_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hang_up]
