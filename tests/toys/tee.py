# SPDX-License-Identifier: Apache-2.0
"""`--mode tee`: what begins with an even byte leaves by every other port."""

from dataclasses import dataclass
from typing import ClassVar

from uspnet.jobs.forward.mode import Mode


@dataclass
class Tee(Mode, mode="tee", struct="forward_loop"):
    """From one port to several others."""

    help: ClassVar[str] = "copies what begins with an even byte to all other ports"
    ports: ClassVar[range] = range(2, 9)

    @classmethod
    def routes(cls, ports):
        source, *sinks = ports
        return [((source, 0), [(sink, 0) for sink in sinks])]
