# SPDX-License-Identifier: Apache-2.0
"""Scapy expressions, evaluated without running anything that isn't one.

An expression such as `Ether()/IP(dst="198.18.0.2")/UDP(dport=9)/("x"*18)` is read as a syntax
tree: layers by name, literals, keywords, `/`, `*`, lists and tuples. Nothing else is evaluated,
and every step is bounded. What is worked on is known by its place, for messages.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from uspnet.errors import Usage
from uspnet.packets.caret import Span, pointed, span_at, span_of
from uspnet.packets.drawn import DRAWS
from uspnet.packets.layers import find_layer

if TYPE_CHECKING:
    from scapy.packet import Packet

EXAMPLE = "write it as: Ether()/IP(dst='198.18.0.2')/UDP(sport=1024,dport=9)/('x'*18)"
TEXT_MAX = 1 << 16  # characters: room for the longest frame, each byte written as \xff
NODES_MAX = 20_000  # of the syntax tree
LAYERS_MAX = 64  # joined by `/`
REPEAT_MAX = 65536  # bytes that all repetitions make
Built = Any  # a layer, or a value of a field


class Expression:
    """An expression, which is evaluated once. `at`: where what is worked on stands in `text`; None:
    nowhere, or nobody knows.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip().replace("\r\n", "\n").replace("\r", "\n")  # as Python reads it
        self.at: Span | None = None
        self._left = REPEAT_MAX  # bytes that may yet be made by repetition
        self._layers: list[ast.expr] = []
        self._call: ast.Call | None = None

    def evaluate(self) -> Built:
        """Evaluate it. Raise Usage, or what Scapy raises."""
        body = self._parse()
        self._layers = _joined(body)
        layers = 1 + sum(isinstance(node, ast.Div) for node in ast.walk(body))
        if layers > LAYERS_MAX:
            raise Usage(f"--packet: {layers:,} layers are more than {LAYERS_MAX}", EXAMPLE)
        made = self._value(body)
        self.at = self._call = None
        return made

    def shown(self) -> Sequence[str]:
        """Return lines that show where what is worked on stands, if that is known."""
        return pointed(self.text, self.at) if self.at else ()

    def point(self, layer: Packet, name: str = "") -> None:
        """Say that a layer of the packet, or its field of this name, is worked on."""
        found = [each for each in self._makers(layer) if _called(each) == type(layer).__name__]
        words = [word for each in found for word in each.keywords if word.arg == name]
        if len(words) == 1 or len(found) == 1:
            self._work_on(words[0].value if words else found[0])

    def _makers(self, layer: Packet) -> Iterator[ast.Call]:
        """Return the calls of which one may have made a layer: values of other layers' fields have
        no number.
        """
        if self._call:
            return iter([self._call])
        number, lower = 0, layer.underlayer
        while lower is not None:
            number, lower = number + 1, lower.underlayer
        own = self._layers[number : number + 1]
        if own and _called(own[0]) == type(layer).__name__:
            return (each for each in own if isinstance(each, ast.Call))
        nodes = (each for top in self._layers for each in ast.walk(top))
        return (each for each in nodes if isinstance(each, ast.Call))

    def point_at_argument(self, name: str) -> None:
        """Say that the argument of this name is worked on, of the call that is."""
        for word in self._call.keywords if self._call else ():
            if word.arg == name:
                self._work_on(word)

    def point_at_value(self, message: str) -> None:
        """Say that the text that a message begins with, in quotes, is worked on."""
        for node in (each for top in self._layers for each in ast.walk(top)):
            match node:
                case ast.Constant(str() as text) if message.startswith(repr(text)):
                    self._work_on(node)
                    return

    def _work_on(self, node: ast.expr | ast.keyword) -> None:
        self.at = span_of(node, self.text)

    def _refuse(self, message: str, node: ast.expr | ast.keyword) -> Usage:
        self._work_on(node)
        return Usage(f"--packet: {message}", EXAMPLE)

    def _parse(self) -> ast.expr:
        if len(self.text) > TEXT_MAX:
            text = f"{len(self.text):,} characters are more than {TEXT_MAX:,}"
            raise Usage(f"--packet: {text}", EXAMPLE)
        if (at := self.text.find("\0")) >= 0:
            self.at = Span(at, at + 1)
            raise Usage("--packet: a null character, which no text has", EXAMPLE)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                body = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            self.at = span_at(error, self.text)
            raise Usage(f"--packet: {error.msg}", EXAMPLE) from None
        except (RecursionError, MemoryError):
            raise Usage("--packet: the expression is nested too deeply", EXAMPLE) from None
        except UnicodeEncodeError as error:
            self.at = Span(error.start, error.end)
            raise Usage("--packet: bytes that are no text in UTF-8", EXAMPLE) from None
        except ValueError as error:
            raise Usage(f"--packet: {error}", EXAMPLE) from None
        if sum(1 for _ in ast.walk(body)) > NODES_MAX:
            raise Usage("--packet: the expression is too long", EXAMPLE)
        return body

    def _value(self, node: ast.expr) -> Built:
        """Evaluate a node of the syntax tree. Raise Usage for one that isn't allowed."""
        match node:
            case ast.Constant(value) if value is not ...:
                return value
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
                return -number
            case ast.BinOp(left, ast.Div(), right):
                return self._stack(self._value(left), self._value(right), node)
            case ast.BinOp(left, ast.Mult(), right):
                return self._repeat(self._value(left), self._value(right), node)
            case ast.List(items):
                return [self._value(item) for item in items]
            case ast.Tuple(items):
                return tuple(self._value(item) for item in items)
            case ast.Call():
                return self._make(node)
            case _:
                raise self._refuse(f"can't use {_shown(node)}", node)

    def _make(self, call: ast.Call) -> Built:
        self._work_on(call.func)
        match call.func:
            case ast.Name(name):
                make = DRAWS.get(name) or _net(name) or find_layer(name)
            case ast.Attribute(ast.Name(module), name):
                make = find_layer(name, module)
            case _:
                raise self._refuse(f"can't use {_shown(call.func)}", call.func)
        for word in call.keywords:
            if not word.arg:
                raise self._refuse("can't use **", word)
        named = {str(word.arg): self._value(word.value) for word in call.keywords}
        given = [self._value(item) for item in call.args]
        self._call = call
        self._work_on(call)
        return make(*given, **named)

    def _repeat(self, left: Built, right: Built, node: ast.BinOp) -> Built:
        if isinstance(left, int):
            left, right = right, left
        if not isinstance(right, int) or not isinstance(left, str | bytes):
            raise self._refuse("only a text can be repeated, as 'x'*18", node)
        self._left -= max(right, 0) * len(left)
        if self._left < 0:
            raise self._refuse(f"texts of more than {REPEAT_MAX:,} bytes", node)
        return left * right

    def _stack(self, lower: Built, upper: Built, node: ast.BinOp) -> Built:
        """Put a layer, or a text as payload, on a layer. Raise Usage."""
        from scapy.packet import Packet  # noqa: PLC0415 - Scapy takes a second to import

        layers = isinstance(lower, Packet) + isinstance(upper, Packet)
        texts = isinstance(lower, str | bytes) + isinstance(upper, str | bytes)
        if layers + texts < 2 or not layers:
            text = f"/ joins layers and texts, which {_shown(node)} does not"
            raise self._refuse(text, node.left if isinstance(upper, Packet) else node.right)
        self._call = None
        self._work_on(node)
        return lower / upper


def _joined(node: ast.expr) -> list[ast.expr]:
    """Return what `/` joins, the lowest layer first."""
    found, left = [], [node]
    while left:
        match left.pop():
            case ast.BinOp(lower, ast.Div(), upper):
                left += [upper, lower]
            case each:
                found.append(each)
    return found


def _called(node: ast.expr) -> str:
    """Return the name of a layer that a node makes."""
    match node:
        case ast.Call(ast.Name(name)) | ast.Call(ast.Attribute(_, name)):
            return name
    return ""


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
