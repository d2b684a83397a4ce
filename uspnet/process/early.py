# SPDX-License-Identifier: Apache-2.0
"""The fork server of a command that runs a job, started before the command's own modules are even
imported: both take about as long, and a second core does one of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from uspnet.errors import UspnetError
from uspnet.fastpath import lib
from uspnet.process.server import ForkServer
from uspnet.system import kept

COMMANDS = {"attach", "capture", "fwd", "pktgen", "reflect"}
WITHOUT = {"--help", "-h", "--in-process"}
_begun: list[ForkServer] = []


def begin(words: Sequence[str]) -> None:
    """Start it, if a command of these words needs one. A job tells why there is none."""
    wanted = words and words[0] in COMMANDS and not WITHOUT.intersection(words)
    if wanted and kept.VARIABLE not in os.environ and not lib.built_with_asan():
        with contextlib.suppress(UspnetError, OSError):
            _begun.append(ForkServer())


def server() -> ForkServer:
    """Return it, once, or a new one. Raises NotSupported."""
    return _begun.pop() if _begun else ForkServer()
