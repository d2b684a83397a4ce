# SPDX-License-Identifier: Apache-2.0
"""Scripted devices that vanish at any one of their accesses."""

from __future__ import annotations

import contextlib

from tests.support.tiers import by_tier
from uspnet.errors import UspnetError


class Last(list):
    """A log of a device that is removed after so many accesses."""

    def __init__(self, device, count):
        self.device, self.count = device, count

    def append(self, access):
        super().append(access)
        self.device.removed = len(self) > self.count


def vanish_at_any_access(nic, device, stack):
    """Start the NIC, look after it and stop it, with a device that vanishes at its first access,
    its second, and so on. Fail for an error of another kind, a buffer that is lost, and a counter
    that is made of all ones. Return the errors.
    """

    def live():
        nic.start()
        assert not nic.was_reset()
        nic.check()
        nic.link()
        counts = nic.counters()
        assert not any(counts.values()), counts

    device.log = []
    live()
    nic.stop()
    errors = []
    for count in range(0, len(device.log), by_tier(9, 4, 1)):
        device.log, device.removed = Last(device, count), False
        try:
            live()
        except UspnetError as error:
            errors.append(error)
        with contextlib.suppress(UspnetError):
            nic.stop()
        assert stack.top == stack.room, f"access {count}"
        device.removed = False
    return errors
