"""One thing that the console says: its time, its label, its text, wrapped so that nobody can fake another's line."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import wcwidth

from palaver.participants.console.paint import Paint, Tone

MARKS: dict[Tone, str] = {"notice": "--", "result": "=>", "warning": "!", "error": "!!", "alarm": "!! ALARM:"}
"""What tells the tones apart where there is no colour."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something to be shown; `text` has been cleaned, `label` and `name` too.

    Of a message, `label` is its `#seq`, `name` who speaks and `aside` what stands before the colon.
    """

    text: str
    tone: Tone = "notice"
    at: str = ""
    """Local time as `HH:MM:SS`, empty for what has none."""
    label: str = ""
    name: str = ""
    aside: str = ""

    def rendered(self, paint: Paint, width: int | None = None) -> str:
        """The line as it is written, with colours, wrapped into `width` columns where given."""
        head = self._head()
        indent = " " * (2 if width is not None and width < 50 else 9 if self.at else 3)
        first, *rest = self._rows(head, indent, width)
        if first.startswith(head.rstrip()):
            first = self._painted_head(paint) + paint.toned(self.tone, first[len(head) :])
        return "\n".join([first, *(paint.toned(self.tone, row) for row in rest)])

    def _rows(self, head: str, indent: str, width: int | None) -> Iterator[str]:
        for paragraph in self.text.split("\n"):
            if width is None:
                yield head + paragraph
            else:
                yield from wrapped(paragraph.expandtabs(4), max(width, 20), head, indent)
            head = indent

    def _head(self) -> str:
        return "".join(f"{part} " for part in self._parts() if part)

    def _parts(self) -> tuple[str, ...]:
        if not self.name:
            return self.at, MARKS.get(self.tone, ""), self.label
        return self.at, self.label, f"{self.name}{self.aside and f' {self.aside}'}:"

    def _painted_head(self, paint: Paint) -> str:
        at, *parts = self._parts()
        told = f"{paint.dim(at)} " if at else ""
        if not self.name:
            return told + "".join(f"{paint.toned(self.tone, part)} " for part in parts if part)
        aside = paint.toned("whisper", f" {self.aside}") if self.aside else ""
        label = f"{paint.dim(self.label)} " if self.label else ""
        return f"{told}{label}{paint.name(self.name)}{aside}: "


def wrapped(text: str, width: int, head: str, indent: str) -> list[str]:
    """`text` after `head` in rows of `width` columns; what follows the first row is indented."""
    if len(head) + len(text) <= width and text.isascii() and head.isascii():
        return [head + text]
    wrap = textwrap.wrap if text.isascii() and head.isascii() else _wrapped_widely
    if width - columns(head) < 8:  # a long name fills the row, or more: the text begins on the next
        named = wrap(head, width, subsequent_indent=indent)
        return [*named, *wrap(text, width, initial_indent=indent, subsequent_indent=indent)]
    return wrap(text, width, initial_indent=head, subsequent_indent=indent) or [head]


def _wrapped_widely(text: str, width: int, *, initial_indent: str = "", subsequent_indent: str = "") -> list[str]:
    """`textwrap.wrap` for all that is written: no terminal breaks its rows once more."""
    rows: list[str] = []
    row, space = initial_indent, ""
    left, whole = width - columns(row), width - columns(subsequent_indent)
    for piece in _PIECES.findall(text):
        if piece.isspace() and (row != subsequent_indent or not rows):
            space = piece
            continue
        if left < columns(space + piece) <= whole + columns(space):
            rows.append(row)
            row, left, space = subsequent_indent, whole, ""
        for part in _parts(space + piece, whole):
            if (taken := columns(part)) > left:
                rows.append(row)
                row, left = subsequent_indent, whole
            row, left = row + part, left - taken
        space = ""
    return [*rows, row] if text.strip() else []


def _parts(text: str, most: int) -> Iterator[str]:
    """What stays together in a row: a letter with its marks, a sequence of emoji that `most` columns hold."""
    for cluster in wcwidth.iter_graphemes(text):
        yield from [cluster] if columns(cluster) <= most else cluster


_PIECES: Final = re.compile(r"\s+|\S+")


def columns(text: str) -> int:
    """How wide a terminal may draw this at most.

    Some join an emoji with the next one and with its colour, others draw each, and a few the joiner too; some widen
    what bears U+FE0F (Apple's, VTE and Kitty differ in each). A row that was taken for narrower than it is would go on
    at the margin, where the lines of others begin.
    """
    if text.isascii():
        return len(text)
    return sum(1 if character in _DRAWN_BY_SOME else max(0, wcwidth.wcwidth(character)) for character in text)


_DRAWN_BY_SOME: Final = frozenset("\u200c\u200d\ufe0f")


def local_time(stamp: str) -> str:
    """`HH:MM:SS` here of a hub's UTC timestamp; empty where it is none."""
    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""
