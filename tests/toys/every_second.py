# SPDX-License-Identifier: Apache-2.0
"""`--mode every_second`: every second packet of the first port leaves by the third."""

from dataclasses import dataclass
from typing import ClassVar

from uspnet.jobs.forward.mode import Mode


@dataclass
class EverySecond(Mode, mode="every_second"):
    """From one port to two others."""

    help: ClassVar[str] = "sends every second packet by the third port"
    ports: ClassVar[range] = range(3, 4)

    @classmethod
    def routes(cls, ports):
        source, *sinks = ports
        return [
            ((source, i), [(sink, i % sink.queues) for sink in sinks]) for i in range(source.queues)
        ]
