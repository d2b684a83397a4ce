# SPDX-License-Identifier: Apache-2.0
"""The result of `attach`."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.jobs.result import ForwardResult


@dataclass(frozen=True, kw_only=True)
class Diverted:
    """What `attach --filter` has accepted."""

    packets: int
    """Packets of the port that went to `--to`, instead of or with `--tee` as well as the kernel."""
    bytes: int
    """Their bytes, without FCS."""


@dataclass(frozen=True, kw_only=True)
class Attached:
    """The interface that stood for the port."""

    name: str
    """Its name, as it was made."""
    mac: str
    """Its MAC address, as it was made."""
    mtu: int
    """Its MTU in bytes, as it is."""
    not_restored: tuple[str, ...] = ()
    """What could not be restored of what `uspnet bind` saved, and why."""


@dataclass(frozen=True, kw_only=True)
class AttachResult(ForwardResult):
    """The result of `attach`: received + copied = forwarded + dropped, when it is over."""

    interface: Attached | None
    """The kernel's interface; null: it was not made."""
    diverted: Diverted | None = None
    """What `--filter` has accepted; null: it was not given."""
