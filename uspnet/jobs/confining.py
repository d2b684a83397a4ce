# SPDX-License-Identifier: Apache-2.0
"""What the sandbox of a job's worker process allows, and has to enforce."""

from __future__ import annotations

from collections.abc import Sequence

from uspnet.errors import NotSupported
from uspnet.port import Port
from uspnet.sandbox.calls import BASE, is_call
from uspnet.sandbox.enforced import Enforced


def calls_of(ports: Sequence[Port]) -> frozenset[str]:
    """Return the system calls of a worker process with these ports. Raises NotSupported for a name
    that is no call.
    """
    for port in ports:
        for name in sorted(port.calls):
            if not is_call(name):
                text = f"{port.name}: its class names the system call {name}, which is unknown"
                raise NotSupported(text, "run it with --no-sandbox, and report that")
    return BASE.union(*(port.calls for port in ports))


def check_complete(enforced: Enforced) -> None:
    """Raise NotSupported when something is not enforced."""
    if enforced.missing:
        text = f"the sandbox lacks: {', '.join(enforced.missing)}"
        raise NotSupported(text, "see: uspnet doctor; --sandbox=auto goes on without")
