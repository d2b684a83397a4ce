# SPDX-License-Identifier: Apache-2.0
"""Lines that stay where they are on a terminal, and are gone when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Screen:
    """Shows lines in place of those before. A context manager: at its end none of them is left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = self._made()

    def _made(self) -> Live:
        return Live(
            console=self.console, transient=True, auto_refresh=False, vertical_overflow="crop"
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def open(self) -> None:
        """Show lines again, after `close`."""
        self._live = self._made()
        self._live.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def width(self) -> int:
        """Columns that a line may have."""
        return self.console.size.width

    @property
    def height(self) -> int:
        """Lines that may be shown: the cursor takes one of the terminal's."""
        return max(self.console.size.height - 1, 1)

    def show(self, lines: Sequence[Text]) -> None:
        """Show lines that were made for this width and height."""
        text = Text("\n", no_wrap=True, overflow="ignore").join(lines)
        self._live.update(text, refresh=True)

    def close(self) -> None:
        """Remove the lines. May be called twice."""
        self._live.stop()
