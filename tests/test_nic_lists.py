# SPDX-License-Identifier: Apache-2.0
"""A NIC is a file in drivers/ and a test of its own: no list elsewhere names it. What tests need
of it is in its `Model`.
"""

from __future__ import annotations

import ast

from tests.support.paths import ROOT
from uspnet.ports.qemu import models

# The tests of one driver, of one ring, or of what a NIC's name looks like in kernel and files.
OWN = {"test_e1000.py", "test_igb.py", "test_virtio_net.py", "test_vmxnet3.py"}
FILES = [
    path
    for folder in ("tests", "tools", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name not in OWN
]


def named(literal: ast.expr) -> set[str]:
    """The NIC models that are direct elements of a literal list, tuple, set or dict."""
    if not isinstance(literal, ast.List | ast.Tuple | ast.Set | ast.Dict):
        return set()
    elements = literal.keys if isinstance(literal, ast.Dict) else literal.elts
    texts = [each.value for each in elements if isinstance(each, ast.Constant)]
    words = {text.removeprefix("qemu:").partition(",")[0] for text in texts if text == str(text)}
    return words & models().keys()


def test_no_list_names_nics():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert len(named(node)) < 2, f"{path}:{node.lineno}: see uspnet.ports.qemu.models()"
