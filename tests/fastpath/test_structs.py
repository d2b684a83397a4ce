# SPDX-License-Identifier: Apache-2.0
"""Mistakes in a C file or in the class beside it: what is said names the file and the remedy."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from uspnet.fastpath.build import fenced
from uspnet.fastpath.structs import check_pair
from uspnet.jobs.forward.mode import Mode, modes
from uspnet.jobs.loops import Loop
from uspnet.packets.fields.field import Field


def test_what_stands_between_the_fences_is_read(tmp_path):
    path = tmp_path / "ring.c"
    path.write_text("int a;\n// [python]\nint b;\n// [c]\nint c;\n")
    assert fenced(path) == "int b;\n"
    path.write_text("int a;\n")
    assert not fenced(path)


@pytest.mark.parametrize(
    "text",
    [
        "// [python]\nint b;\n",
        "int b;\n// [c]\n",
        "// [c]\n// [python]\n",
        "// [python]\n// [c]\n// [python]\n// [c]\n",
    ],
)
def test_a_fence_that_is_wrong_is_named_with_its_file(tmp_path, text):
    path = tmp_path / "ring.c"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"ring\.c: wants // \[python\] and then // \[c\]"):
        fenced(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("forward_loop", "worker", "loop_forward"), ""),
        (("no_such_loop", "worker", "loop_forward"), "no struct no_such_loop in the fast path"),
        (("forward_loop", "worker", "loop_none"), r"no loop_none\(\) in the fast path: declare"),
        (("null_queue", "worker", "loop_forward"), "null_queue does not begin with struct worker"),
        (("packet", "worker", "loop_forward"), "struct packet does not begin with struct worker"),
    ],
)
def test_a_struct_begins_with_its_base(words, said):
    if not said:
        check_pair(*words)
        return
    with pytest.raises(TypeError, match=said):
        check_pair(*words)


def test_a_loop_or_field_without_c_is_refused_where_it_is_defined():
    with pytest.raises(TypeError, match="no struct forwarb_loop"):

        @dataclass
        class Misspelt(Loop, name="forwarb"):
            """Its C file has another name."""

    with pytest.raises(TypeError, match="no struct missing_field"):

        @dataclass
        class Missing(Field, name="missing"):
            """It has no C file."""

    with pytest.raises(TypeError, match="no struct patch_loop"):

        @dataclass
        class Patch(Mode, mode="patch"):
            """A mode's loop has the mode's name."""


def test_two_modes_of_one_name_are_refused():
    modes()
    with pytest.raises(TypeError, match=r"two modes macswap: uspnet\.jobs\.forward\.macswap and"):

        @dataclass
        class Twice(Mode, mode="macswap", struct="forward_loop"):
            """The name is taken."""
