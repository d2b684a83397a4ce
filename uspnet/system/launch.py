# SPDX-License-Identifier: Apache-2.0
"""Programs of ours in processes that have nothing of the terminal, the environment or stdin."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Collection, Sequence

from uspnet.fastpath import ffi, lib
from uspnet.system import children, streams
from uspnet.system.privileges import Capabilities, mask


def launch(  # noqa: PLR0913 - each is used
    argv: Sequence[str],
    parent: int,
    *,
    pass_fds: Collection[int] = (),
    piped: bool = True,
    confined: Capabilities | None = None,
    cwd: str | None = "/",
) -> subprocess.Popen[bytes]:
    """Start a program of ours in a session of its own, without our environment and stdin. It ends
    with the process `parent` (0: it does not). `piped`: stdout and stderr can be read. `confined`:
    it gets none of our capabilities but these. Raises OSError.
    """
    null = streams.null()
    out = subprocess.PIPE if piped else null
    with_us = functools.partial(lib.end_with, parent) if parent else None
    if confined is not None:
        child = ffi.new("struct child *", {"parent": parent, "keep": mask(confined)})
        with_us = functools.partial(lib.child_begin if parent else lib.child_confine, child)
    try:
        return subprocess.Popen(  # noqa: S603 - ourselves, or checked
            argv,
            pass_fds=pass_fds,
            stdin=null,
            stdout=out,
            stderr=out,
            cwd=cwd,
            env=children.environment(),
            start_new_session=True,
            preexec_fn=with_us,  # noqa: PLW1509 - async-signal-safe
        )
    finally:
        os.close(null)
