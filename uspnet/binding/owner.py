# SPDX-License-Identifier: Apache-2.0
"""`bind --owner USER`: a NIC that a user may drive without being root."""

from __future__ import annotations

import os
import pwd
import time

from uspnet.errors import NotSupported, Usage
from uspnet.pci.functions import function
from uspnet.pci.sysfs import Tree

NODE_S = 2.0  # how long a device node may take to appear


def hand_over(tree: Tree, address: str, name: str) -> None:
    """Give a user access to the function by making its VFIO nodes theirs. Raises Usage,
    NotSupported.
    """
    user, group = find(name)
    found = function(tree, address)
    nodes = [f"dev/vfio/{found.group}"]
    if found.vfio_node:
        nodes.append(found.vfio_node)
    end = time.monotonic() + NODE_S
    while missing := [node for node in nodes if not tree.exists(node)]:
        if time.monotonic() > end:
            raise NotSupported(f"there is no /{missing[0]} to give to {name}", "see: uspnet doctor")
        time.sleep(0.02)
    for node in nodes:
        os.chown(tree.path(node), user, group)


def find(name: str) -> tuple[int, int]:
    """Return the ids of the user and of their group. Raises Usage."""
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, ValueError):  # a number too long for int(); a name with a null byte
        raise Usage(f"--owner {name}: there is no such user", "see: getent passwd") from None
    return entry.pw_uid, entry.pw_gid
