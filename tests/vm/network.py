# SPDX-License-Identifier: Apache-2.0
"""The guest's network: built by iproute2, and looked at by it. One process does many things,
because starting one takes half a second on an emulated processor.
"""

from __future__ import annotations

import json

from tests.support.waiting import moments, until

LOOSE = {"ifindex", "link_index", "operstate", "tentative", "flags", "valid_life_time",
         "preferred_life_time", "dynamic"}  # fmt: skip
LOOK = """
ip -j -b - <<END; ip -6 -j -b - <<END
address show
route show table all
rule show
END
route show table all
rule show
END
"""


def ip(guest, *lines, force=False):
    """Has `ip` do these things. Fails with it, unless `force`."""
    batch = guest.share / "batch"
    batch.write_text("\n".join(lines) + "\n")
    result = guest.run(["ip", *(["-force"] * force), "-batch", batch])
    assert force or result.code == 0, (lines, result.err)


def look(guest):
    """Everything that iproute2 tells of addresses, routes and rules."""
    result = guest.run(["sh", "-c", LOOK])
    assert result.code == 0, result.err
    return result.out


def shown(guest):
    """The same, without numbers."""
    return rows_of(look(guest))


def rows_of(text):
    rows, decoder = [], json.JSONDecoder()
    text = text.strip()
    while text:
        found, end = decoder.raw_decode(text)
        rows += (json.dumps(strip(row)) for row in found)
        text = text[end:].strip()
    return sorted(rows)


def strip(value):
    if isinstance(value, dict):  # what is down keeps the queueing of when it was up, or has none
        loose = LOOSE | (set() if "UP" in value.get("flags", ["UP"]) else {"qdisc"})
        return {key: strip(item) for key, item in value.items() if key not in loose}
    return [strip(item) for item in value] if isinstance(value, list) else value


def settled(guest, before, seconds=30):
    """Waits until all is as before; says what is not."""
    now = None
    for _ in moments(seconds, 0.1):
        if (now := shown(guest)) == before:
            return
    lost, new = ([row for row in a if row not in b] for a, b in ((before, now), (now, before)))
    assert not lost + new, f"lost: {lost}; new: {new}"


def quiet(guest, name):
    """What is shown once the interface has a carrier, if it is up, and nothing changes any more."""
    at = f"/sys/class/net/{name}"
    is_down = lambda: not int(guest.read(f"{at}/flags"), 16) & 1  # noqa: E731
    until(lambda: is_down() or guest.read(f"{at}/carrier") == "1\n", 20, 0.1)
    before = look(guest)
    for _ in moments(20, 0):
        if (now := look(guest)) == before and '"tentative"' not in now:
            return rows_of(now)
        before = now
    raise AssertionError("its addresses go on changing")


def interface(guest, address, seconds=60):
    """The name of a function's interface now. A driver that has just got the function makes it in
    a moment.
    """
    at = f"/sys/bus/pci/devices/{address}"

    def names():
        child = [name for name in guest.names(at) if name.startswith("virtio")]
        return guest.names(f"{at}/{child[0]}/net" if child else f"{at}/net")

    return until(names, seconds, 0.1, lambda: f"{address} has no interface")[0]
