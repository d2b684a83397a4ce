# SPDX-License-Identifier: Apache-2.0
"""PCI addresses: one form inside, two on the command line."""

import pytest

from uspnet.pci.address import full_address, is_full
from uspnet.spec import parse

FORMS = [
    ("0000:03:00.0", "0000:03:00.0"),
    ("03:00.0", "0000:03:00.0"),
    ("AB:1f.7", "0000:ab:1f.7"),
    ("10000:e1:00.0", "10000:e1:00.0"),  # as Intel's VMD numbers its domains
    ("00010000:E1:00.0", "10000:e1:00.0"),
]
NONE = ["", "3:00.0", "03:00", "03:20.0", "03:00.8", "000:03:00.0", "03:00.0 ", "03:00.0\n", "eth0",
        "٠٣:00.0"]  # fmt: skip


@pytest.mark.parametrize(("text", "full"), FORMS)
def test_every_form_becomes_the_one_of_sysfs(text, full):
    assert full_address(text) == full
    assert is_full(text) == (text == full)
    assert is_full(full)


@pytest.mark.parametrize("text", NONE)
def test_nothing_else_is_an_address(text):
    assert full_address(text) is None
    assert not is_full(text)


@pytest.mark.parametrize(("text", "full"), FORMS)
@pytest.mark.parametrize("scheme", ["", "pci:", "PCI:"])
def test_port_specs_take_the_same_forms(scheme, text, full):
    spec = parse(f"{scheme}{text},transport=uio")
    assert (spec.scheme, spec.target, spec.given) == ("pci", full, {"transport": "uio"})
    assert str(spec) == f"{full},transport=uio"
