# SPDX-License-Identifier: Apache-2.0
"""What there is to complete: ports with their options, NICs, jobs, modes, registers, files."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from uspnet.errors import UspnetError

if TYPE_CHECKING:
    from uspnet.spec import Option


def ports(text: str) -> list[str]:
    """Return port specs that begin so, as far as the next colon, comma or equals sign."""
    from uspnet.ports.registry import schemes
    from uspnet.spec import PATH_SCHEMES, SCHEME, UNESCAPED, escaped

    kinds = schemes()
    parts = UNESCAPED.split(text)
    match = SCHEME.match(parts[0])
    if not match and len(parts) == 1:
        addresses = kinds["pci"].targets() if "pci" in kinds else []
        found = [f"{name}:" for name in sorted(kinds)] + sorted(addresses)
        return [spec for spec in found if spec.startswith(text)]
    if len(parts) > 1:
        return _port_options(text[: len(text) - len(parts[-1])], parts[-1])
    if not match or match[1] not in kinds:
        return []
    scheme, target = match.groups()
    if scheme in PATH_SCHEMES:
        paths = [f"{scheme}:{escaped(path)}" for path in files(target.replace("\\,", ","))]
        return paths + (_port_options(f"{scheme}:", target) if target else [])
    found = [f"{scheme}:{escaped(name)}" for name in sorted(kinds[scheme].targets())]
    return [spec for spec in found if spec.startswith(text)] or _port_options(f"{scheme}:", target)


def _port_options(head: str, last: str) -> list[str]:
    """Return the spec with an option that its port takes, or with a value of that option. `head`:
    all before it, with the colon or the comma.
    """
    from uspnet.spec import Choice, switch

    known = _known(head.removesuffix(","))
    name, equals, value = last.partition("=")
    if not equals:
        given = {part.partition("=")[0] for part in head.partition(":")[2].split(",")}
        names = sorted(each for each in known if each.startswith(last) and each not in given)
        return [f"{head}{each}=" for each in names]
    read = known[name].read if name in known else None
    words = read.words if isinstance(read, Choice) else ("on", "off") if read is switch else ()
    return [f"{head}{name}={word}" for word in words if word.startswith(value)]


def _known(spec: str) -> Mapping[str, Option]:
    """Return the options of a spec's port, or of its scheme if the spec is incomplete."""
    from uspnet.ports.registry import make_port, schemes
    from uspnet.spec import parse

    with contextlib.suppress(UspnetError):
        return make_port(spec).known_options()
    with contextlib.suppress(UspnetError):
        return schemes()[parse(spec).scheme].options.known()
    return {}


def nics(text: str) -> list[str]:
    """Return PCI addresses of NICs, and their interfaces, that begin so."""
    from uspnet.pci.functions import scan
    from uspnet.pci.sysfs import Tree

    found = [name for each in scan(Tree()) for name in (each.address, *each.interfaces)]
    return [name for name in found if name.startswith(text)]


def jobs(text: str) -> list[str]:
    """Return process ids of running jobs."""
    from uspnet.telemetry import look

    return [pid for pid in (str(job.pid) for job in look().jobs) if pid.startswith(text)]


def modes(text: str) -> list[str]:
    """Return forwarding modes that begin so."""
    from uspnet.jobs.forward.mode import modes as known

    return [name for name in sorted(known()) if name.startswith(text)]


def registers(text: str, port: str) -> list[str]:
    """Return names of a port's registers that begin so."""
    from uspnet.jobs.registers import known_names

    return sorted(name for name in known_names(port) if name.startswith(text.upper()))


def files(text: str) -> list[str]:
    """Return paths that begin so, folders with a slash."""
    found = sorted(glob.glob(glob.escape(text) + "*"))
    return [f"{path}/" if os.path.isdir(path) else path for path in found]
