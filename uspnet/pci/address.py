# SPDX-License-Identifier: Apache-2.0
"""PCI addresses as users and the kernel write them. No other module parses one."""

from __future__ import annotations

import re

# Bus, device and function; the kernel's log and users leave the domain out.
SHORT = r"[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]"
_ADDRESS = re.compile(rf"(?:([0-9a-fA-F]{{4,8}}):)?({SHORT})")


def full_address(text: str) -> str | None:
    """Return the address as sysfs names it, `0000:03:00.0`; `text` may leave the domain out.
    None if it is no PCI address.
    """
    match = _ADDRESS.fullmatch(text)
    return f"{int(match[1] or '0', 16):04x}:{match[2].lower()}" if match else None


def is_full(text: str) -> bool:
    """Return whether the text is an address exactly as sysfs names it."""
    return full_address(text) == text
