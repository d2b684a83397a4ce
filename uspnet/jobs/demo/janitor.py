# SPDX-License-Identifier: Apache-2.0
"""The temporary folder of a demo, and the process that removes it when the demo can't."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import tempfile
from pathlib import Path

from uspnet.errors import Refused, UspnetError
from uspnet.fastpath import lib
from uspnet.system import children
from uspnet.system.folders import check_folder

# The janitor's program. It tries again: processes of the demo may still write files there, for as
# long as a busy machine needs to end them.
CLEAN = """
import os, shutil, sys, time
os.write(1, b"ready")
if not sys.stdin.buffer.read():
    for _ in range(600):
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        time.sleep(0.05)
        if not os.path.lexists(sys.argv[1]):
            break
"""


class Janitor:
    """A process that removes a folder when this process is killed. Start it before the folder is
    made: from then on it does. Raises UspnetError when it can't be started.
    """

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - ourselves
            children.python(CLEAN, str(folder), site=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=children.environment(),
            start_new_session=True,
            # Continues it at our end, in case it was stopped.
            preexec_fn=functools.partial(lib.signal_at_parting, signal.SIGCONT),  # noqa: PLW1509
        )
        if not self.process.stdout or not self.process.stdout.read(len("ready")):
            raise UspnetError("demo: Python could not be started again", "see: uspnet doctor")

    def dismiss(self) -> None:
        """End the janitor without removing the folder."""
        self.process.send_signal(signal.SIGCONT)  # it may have been stopped
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(b"dismissed")


def temporary_folder() -> Path:
    """Return the folder for temporary files. Raise Refused when other users may replace them."""
    folder = Path(tempfile.gettempdir()).resolve()
    try:
        check_folder(folder)
    except Refused as error:
        raise Refused(error.message, "name a folder of yours: TMPDIR=~ uspnet demo") from None
    return folder
