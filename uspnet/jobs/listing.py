# SPDX-License-Identifier: Apache-2.0
"""What `capture -d` answers: a compiled filter."""

from __future__ import annotations

from dataclasses import dataclass

from uspnet.answer import Answer


@dataclass(frozen=True)
class Instruction:
    """One instruction of a filter, as struct bpf_insn has it."""

    code: int
    """What it does, of linux/bpf_common.h."""
    jt: int
    """Instructions to skip if its condition holds."""
    jf: int
    """Instructions to skip if not."""
    k: int
    """Its constant."""


@dataclass(frozen=True, kw_only=True)
class FilterAnswer(Answer):
    """The compiled filter: `capture -d`."""

    filter: str
    """Its text."""
    program: tuple[Instruction, ...]
    """Classic BPF, for Ethernet."""
