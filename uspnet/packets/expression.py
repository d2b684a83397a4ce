# SPDX-License-Identifier: Apache-2.0
"""Scapy expressions, evaluated without running anything that isn't one.

An expression such as `Ether()/IP(dst="198.18.0.2")/UDP(dport=9)/("x"*18)` is read as a syntax
tree: layers by name, literals, keywords, `/`, `*`, lists and tuples. Nothing else is evaluated,
and every step is bounded.
"""

from __future__ import annotations

import ast
import warnings
from typing import Any

from uspnet.errors import Usage
from uspnet.packets.drawn import DRAWS
from uspnet.packets.layers import find_layer

EXAMPLE = "write it as: Ether()/IP(dst='198.18.0.2')/UDP(sport=1024,dport=9)/('x'*18)"
TEXT_MAX = 1 << 16  # characters: room for the longest frame, each byte written as \xff
NODES_MAX = 20_000  # of the syntax tree
LAYERS_MAX = 64  # joined by `/`
REPEAT_MAX = 65536  # bytes that all repetitions make
Built = Any  # a layer, or a value of a field


def evaluate(text: str) -> Built:
    """Evaluate a Scapy expression. Raise Usage, or what Scapy raises."""
    body = _parse(text.strip())
    layers = 1 + sum(isinstance(node, ast.Div) for node in ast.walk(body))
    if layers > LAYERS_MAX:
        raise Usage(f"--packet: {layers:,} layers are more than {LAYERS_MAX}", EXAMPLE)
    return Evaluator().value(body)


def _parse(text: str) -> ast.expr:
    if len(text) > TEXT_MAX:
        raise Usage(f"--packet: {len(text):,} characters are more than {TEXT_MAX:,}", EXAMPLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise Usage(f"--packet: {error.msg}", EXAMPLE) from None
    except (RecursionError, MemoryError):
        raise Usage("--packet: the expression is nested too deeply", EXAMPLE) from None
    except ValueError as error:
        raise Usage(f"--packet: {error}", EXAMPLE) from None
    if sum(1 for _ in ast.walk(body)) > NODES_MAX:
        raise Usage("--packet: the expression is too long", EXAMPLE)
    return body


class Evaluator:
    """Evaluates one expression; `left` bytes may yet be made by repetition."""

    def __init__(self) -> None:
        self.left = REPEAT_MAX

    def value(self, node: ast.expr) -> Built:
        """Evaluate a node of the syntax tree. Raise Usage for one that isn't allowed."""
        match node:
            case ast.Constant(value) if value is not ...:
                return value
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
                return -number
            case ast.BinOp(left, ast.Div(), right):
                return _stack(self.value(left), self.value(right), node)
            case ast.BinOp(left, ast.Mult(), right):
                return self._repeat(self.value(left), self.value(right))
            case ast.List(items):
                return [self.value(item) for item in items]
            case ast.Tuple(items):
                return tuple(self.value(item) for item in items)
            case ast.Call(function, items, keywords):
                return self._call(function, items, keywords)
            case _:
                raise Usage(f"--packet: can't use {_shown(node)}", EXAMPLE)

    def _call(
        self, function: ast.expr, items: list[ast.expr], keywords: list[ast.keyword]
    ) -> Built:
        match function:
            case ast.Name(name):
                make = DRAWS.get(name) or _net(name) or find_layer(name)
            case ast.Attribute(ast.Name(module), name):
                make = find_layer(name, module)
            case _:
                raise Usage(f"--packet: can't use {_shown(function)}", EXAMPLE)
        if not all(word.arg for word in keywords):
            raise Usage("--packet: can't use **", EXAMPLE)
        named = {str(word.arg): self.value(word.value) for word in keywords}
        return make(*[self.value(item) for item in items], **named)

    def _repeat(self, left: Built, right: Built) -> Built:
        if isinstance(left, int):
            left, right = right, left
        if not isinstance(right, int) or not isinstance(left, str | bytes):
            raise Usage("--packet: only a text can be repeated, as 'x'*18", EXAMPLE)
        self.left -= max(right, 0) * len(left)
        if self.left < 0:
            raise Usage(f"--packet: texts of more than {REPEAT_MAX:,} bytes", EXAMPLE)
        return left * right


def _stack(lower: Built, upper: Built, node: ast.expr) -> Built:
    """Put a layer, or a text as payload, on a layer. Raise Usage."""
    from scapy.packet import Packet  # noqa: PLC0415 - Scapy takes a second to import

    layers = isinstance(lower, Packet) + isinstance(upper, Packet)
    if layers + isinstance(lower, str | bytes) + isinstance(upper, str | bytes) < 2 or not layers:
        raise Usage(f"--packet: / joins layers and texts, which {_shown(node)} does not", EXAMPLE)
    return lower / upper


def _net(name: str) -> Built:
    """Scapy's classes for ranges of addresses, which are no layers."""
    if name not in ("Net", "Net6"):
        return None
    import scapy.base_classes  # noqa: PLC0415 - Scapy takes a second to import
    import scapy.utils6  # noqa: PLC0415

    return scapy.base_classes.Net if name == "Net" else scapy.utils6.Net6


def _shown(node: ast.expr) -> str:
    """Return a piece of an expression, shortened for a message."""
    try:
        text = ast.unparse(node)
    except RecursionError:
        text = type(node).__name__
    return repr(text if len(text) <= 60 else text[:60] + "…")
