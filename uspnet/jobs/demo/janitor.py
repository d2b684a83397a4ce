# SPDX-License-Identifier: Apache-2.0
"""The temporary folder of a demo, and the process that removes it when the demo can't."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import tempfile
from pathlib import Path

from uspnet.errors import Refused
from uspnet.fastpath import lib
from uspnet.system import children
from uspnet.system.folders import check_folder

# What the janitor does: others of ours may still be ending, and busy in there.
CLEAN = """
import os, shutil, sys, time
if not sys.stdin.buffer.read():
    for _ in range(50):
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        time.sleep(0.05)
        if not os.path.lexists(sys.argv[1]):
            break
"""


class Janitor:
    """A process that removes a folder, which we then make, when we end without a word: killed."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - ourselves
            children.python(CLEAN, str(folder)),
            stdin=subprocess.PIPE,
            cwd="/",
            env=children.environment(),
            start_new_session=True,
            # It goes on then, when somebody has stopped it.
            preexec_fn=functools.partial(lib.signal_at_parting, signal.SIGCONT),  # noqa: PLW1509
        )

    def dismiss(self) -> None:
        """All is well."""
        self.process.send_signal(signal.SIGCONT)  # somebody may have stopped it
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(b"all is well")


def temporary_folder() -> Path:
    """Where temporary files go, if no other user can put something else in their place."""
    folder = Path(tempfile.gettempdir()).resolve()
    try:
        check_folder(folder)
    except Refused as error:
        raise Refused(error.message, "name a folder of yours: TMPDIR=~ uspnet demo") from None
    return folder
