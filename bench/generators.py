# SPDX-License-Identifier: Apache-2.0
"""What pktgen sends on the paths whose instructions are counted: see instructions.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uspnet.jobs.traffic import Traffic
    from uspnet.packets.fields.program import Program

FRAME = 60  # bytes
COPIES, SIGNED, FIELDS, IMIX = KINDS = (
    "copies of one frame",
    "copies of one frame with sequence numbers",
    "4 fields and 2 checksums",
    "IMIX",
)


def traffic(kind: str) -> Traffic:
    """Return the packets of one path."""
    from uspnet.jobs.traffic import Traffic  # noqa: PLC0415 - only inside valgrind
    from uspnet.packets.frames import udp_template  # noqa: PLC0415
    from uspnet.packets.sizes import read_sizes  # noqa: PLC0415

    macs, addresses = ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.1", "198.18.0.2")
    sizes = read_sizes("imix" if kind == IMIX else FRAME)
    return Traffic(
        [udp_template(size, *macs, *addresses, 1024, 9) for size in sizes.sizes],
        sequence=kind == SIGNED,
        fields=[_program()] if kind == FIELDS else [],
        order=sizes.over(1),
    )


def _program() -> Program:
    """Return the fields of `memif-fields` (cases.py): two in turn, two random."""
    from uspnet.fastpath import lib  # noqa: PLC0415
    from uspnet.packets.fields.program import Check, Index, Program, Step  # noqa: PLC0415

    both, udp = (1, 1), (0, 1)  # checksums: the header's and UDP's, which has a pseudo-header
    turn, drawn = Index(1 << 16), Index(1 << 16, lib.CHOICE_RANDOM, seed=1)
    ports = Index(65535 - 1023, lib.CHOICE_RANDOM, seed=2)
    steps = [
        (turn, [Step(8 * 26, 32, low=0x0A000000, factors=both)]),
        (drawn, [Step(8 * 30, 32, low=0x0A010000, factors=both)]),
        (ports, [Step(8 * 34, 16, low=1024, factors=udp)]),
        (Index(1000), [Step(8 * 36, 16, low=1, factors=udp)]),
    ]
    return Program(steps, [Check(24, 0, 0), Check(40, 0, 0xFFFF)])
