# SPDX-License-Identifier: Apache-2.0
"""The registry of ports: one scheme each."""

from __future__ import annotations

from functools import cache

from uspnet import registry
from uspnet.errors import Usage
from uspnet.port import SCHEMES, Port
from uspnet.spec import INTERFACE_SCHEMES, escaped, parse
from uspnet.text import did_you_mean

PACKAGE = "uspnet.ports"


@cache
def schemes() -> dict[str, type[Port]]:
    """Return every port class by scheme, also those of `uspnet.ports` entry points."""
    registry.load(PACKAGE)
    return SCHEMES


def interface_ports(name: str) -> str:
    """Return the specs of the ports that an interface can have, as a hint shows them."""
    text = escaped(name)
    return " or ".join(f"{scheme}:{text}" for scheme in INTERFACE_SCHEMES)


def make_port(text: str) -> Port:
    """Return the port that a spec names, not yet opened. Raises Usage."""
    scheme, colon, _ = text.partition(":")
    if colon:  # ours is in the module of its name: a command imports what it uses
        registry.load_named(PACKAGE, scheme, "port")
    kinds = SCHEMES if scheme in SCHEMES else schemes()
    spec = parse(text, kinds)
    if spec.scheme not in kinds:
        known = ", ".join(f"{name}:" for name in sorted(kinds))
        near = did_you_mean(spec.scheme, kinds, "{}:")
        hint = f"{near} ports are: {known}".lstrip()
        raise Usage(f"{spec}: there is no port {spec.scheme}:", registry.failures(PACKAGE) + hint)
    return kinds[spec.scheme].of(spec)
