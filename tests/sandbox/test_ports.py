# SPDX-License-Identifier: Apache-2.0
"""The calls that ports' rings make are listed, few and harmless."""

from __future__ import annotations

import pytest

from uspnet.ports.pcap.sink import Sink
from uspnet.ports.pcap.source import Source
from uspnet.ports.registry import schemes
from uspnet.sandbox import calls

FEW = {"null", "pci", "memif"}  # only doorbells
HARMFUL = {"open", "openat", "socket", "connect", "execve", "clone", "mprotect", "ioctl", "kill"}


@pytest.mark.parametrize("machine", calls.MACHINES)
@pytest.mark.parametrize("port", [*schemes().values(), Sink, Source])
def test_every_port_lists_few_calls_that_exist(port, machine):
    wanted = calls.BASE | port.calls
    assert len({calls.number(name, machine) for name in wanted}) == len(wanted)
    assert len(wanted) <= (15 if port.scheme in FEW else 20)
    assert not wanted & HARMFUL
