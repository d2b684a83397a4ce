# SPDX-License-Identifier: Apache-2.0
"""What one port of `capture` has of its own: `PORT,filter=tcp port 443,snaplen=96`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from uspnet import units
from uspnet.errors import Usage
from uspnet.ports.pcap.kinds import SNAPLEN_MAX
from uspnet.spec import SCHEME, UNESCAPED, shown

if TYPE_CHECKING:
    from uspnet.jobs.capture import Own
    from uspnet.port import Port

OWN = ("filter", "snaplen")


def apart(texts: Sequence[str]) -> tuple[list[Port], list[Own]]:
    """Return the ports that specs name, and what `capture` takes from each spec. Raises Usage, and
    as choose_by does.
    """
    from uspnet.ports.registry import make_port

    parts = [_split(text) for text in texts]
    return [make_port(spec) for spec, _ in parts], [_own(*part) for part in parts]


def _own(spec: str, found: Mapping[str, str]) -> Own:
    from uspnet.jobs.capture import Own
    from uspnet.packets.filter import choose_by

    try:
        snaplen = units.whole(0, SNAPLEN_MAX)(found.get("snaplen", "0"))
        if "snaplen" in found:  # 0 is all, as it is of -s; otherwise it is that of all ports
            snaplen = snaplen or SNAPLEN_MAX
    except units.Unreadable as error:
        text = f"{shown(spec)}: snaplen={found['snaplen'][:40]}: {error}"
        raise Usage(text, error.hint) from None
    return Own(choose_by(found["filter"]) if "filter" in found else None, snaplen)


def _split(text: str) -> tuple[str, dict[str, str]]:
    head, *parts = UNESCAPED.split(text)
    scheme = SCHEME.match(head)
    if scheme and scheme[2].startswith(tuple(f"{name}=" for name in OWN)):
        head, parts = f"{scheme[1]}:", [scheme[2], *parts]
    rest, found = [head], {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in OWN:
            rest.append(part)
        elif name in found:
            raise Usage(f"{shown(head)}: {name}= is given twice", "keep one of them")
        else:
            found[name] = value.replace("\\,", ",")
    return ",".join(rest), found
