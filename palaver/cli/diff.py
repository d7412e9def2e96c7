"""`palaver diff`: two conversations beside each other, from where they part."""

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from colorama import Fore, Style

from palaver.cli.common import Parser
from palaver.cli.recorded import LOG_HELP, read
from palaver.core.errors import ConfigError, PalaverError
from palaver.core.message import Message
from palaver.participants.console.clean import clean, clean_name
from palaver.records.alignment import Row, aligned, common

CONTEXT: Final = 3
"""Common messages shown before the branches part."""
SIDE_BY_SIDE: Final = 100
"""Columns of a terminal from which on there is room for two."""
PLAIN: Final = 80
"""Columns where nobody says how many there are."""
_COLOURS: Final = {"-": Fore.RED, "+": Fore.GREEN, "@": Fore.CYAN, " ": ""}


def parser() -> argparse.ArgumentParser:
    """The flags of a comparison."""
    flags = Parser(prog="palaver diff", description="Show where two conversations part, and how each goes on.")
    flags.add_argument("left", metavar="A", help=LOG_HELP)
    flags.add_argument("right", metavar="B", help="the other one")
    flags.add_argument("--unified", action="store_true", help="one below the other, also where there is room for two")
    return flags


def main(argv: Sequence[str]) -> int:
    """As `diff` has it: 0 where both say the same, 1 where they differ, 2 where one cannot be read."""
    flags = parser().parse_args(argv)
    try:
        left, right = read(flags.left), read(flags.right)
        for side, log in ((left, flags.left), (right, flags.right)):
            if side.entries and not side.messages:
                raise ConfigError(f"{log} holds no messages of room {side.room!r} to compare")
    except PalaverError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shared = common(left.messages, right.messages)
    if shared == len(left.messages) == len(right.messages):
        print(f"the same {shared} messages")
        return 0
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((PLAIN, 24)).columns if terminal or "COLUMNS" in os.environ else PLAIN
    page = _Page(max(width, 20), colour=terminal and "NO_COLOR" not in os.environ)
    lines = page.heading(flags.left, flags.right)
    lines += [f"@@ {shared} messages in common @@"]
    for message in left.messages[max(0, shared - CONTEXT) : shared]:
        lines += page.common(message)
    rows = aligned(left.messages[shared:], right.messages[shared:])
    beside = width >= SIDE_BY_SIDE and not flags.unified
    for line in [*lines, *(page.beside(rows) if beside else page.unified(rows))]:
        print(page.painted(line))
    return 1


class _Page:
    """Lays rows out on so many columns. The first character of a line says which side it is of."""

    def __init__(self, width: int, *, colour: bool) -> None:
        self._width = width
        self._colour = colour

    def heading(self, left: str, right: str) -> list[str]:
        return [f"--- {clean_name(left)}", f"+++ {clean_name(right)}"]

    def common(self, message: Message) -> list[str]:
        return self._lines(" ", message)

    def unified(self, rows: Iterator[Row]) -> Iterator[str]:
        """Both sides' turns, one below the other; what both said stands once."""
        for row in rows:
            if row.is_same and row.left is not None:
                yield from self._lines(" ", row.left)
                continue
            yield from self._lines("-", row.left) if row.left is not None else ()
            yield from self._lines("+", row.right) if row.right is not None else ()

    def beside(self, rows: Iterator[Row]) -> Iterator[str]:
        """Two columns; `|` between them where both spoke otherwise, `<` or `>` where only one did."""
        half = (self._width - 3) // 2
        for row in rows:
            left, right = self._column(row.left, half), self._column(row.right, half)
            mark = " " if row.is_same else "<" if row.right is None else ">" if row.left is None else "|"
            height = max(len(left), len(right))
            left += [""] * (height - len(left))
            right += [""] * (height - len(right))
            for one, other in zip(left, right, strict=True):
                yield (
                    self._toned("-" if mark in "<|" else " ", one.ljust(half))
                    + f" {mark} "
                    + self._toned("+" if mark in ">|" else " ", other)
                )

    def painted(self, line: str) -> str:
        """The line in the colour of its side; one that has colours already stays."""
        return line.rstrip() if "\x1b" in line else self._toned(line[:1], line)

    def _toned(self, side: str, text: str) -> str:
        colour = _COLOURS.get(side, "")
        return f"{colour}{text}{Style.RESET_ALL}" if self._colour and colour else text

    def _lines(self, side: str, message: Message) -> list[str]:
        first, *others = self._column(message, self._width - 2)
        return [f"{side} {first}", *(f"{side} {line}" for line in others)]

    def _column(self, message: Message | None, width: int) -> list[str]:
        if message is None:
            return []
        to = f" (to {clean_name(message.to)})" if message.to else ""
        text = f"[redacted: {message.redacted}]" if message.redacted is not None else message.content
        told = f"{message.seq} {clean_name(message.sender)}{to}: {clean(text)}"
        first, *others = told.split("\n")
        pieces = textwrap.wrap(first.expandtabs(), width, subsequent_indent="  ")
        for line in others:
            indented = textwrap.wrap(line.expandtabs(), width, initial_indent="  ", subsequent_indent="  ")
            pieces += indented or [""]
        return pieces
