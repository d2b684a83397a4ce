# SPDX-License-Identifier: Apache-2.0
"""The QEMU that guests run in: the one that uspnet would start, too."""

from __future__ import annotations

import subprocess

from tests.vm.kernel import Missing
from uspnet.errors import NoDevice
from uspnet.transports.qemu.machine import binary


def find_qemu():
    """The QEMU that uspnet would start, too."""
    try:
        return binary()
    except NoDevice as error:
        raise Missing(f"{error.message}: {error.hint}") from None


def has_model(program, model):
    """Has this QEMU the device? Its exit status does not tell: 7.2 ends with 0 either way."""
    words = [program, "-device", f"{model},help"]
    return bool(subprocess.run(words, capture_output=True, check=False).stdout)
