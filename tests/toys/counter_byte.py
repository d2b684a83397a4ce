# SPDX-License-Identifier: Apache-2.0
"""A byte that counts packets."""

from dataclasses import dataclass

from uspnet.packets.fields.field import Field


@dataclass
class CounterByte(Field, name="counter_byte"):
    """At `at` bytes from the frame's start."""

    at: int = 0
