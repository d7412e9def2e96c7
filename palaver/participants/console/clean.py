"""What others wrote, made harmless for a terminal: nothing in it moves the cursor, hides or reorders anything."""

import re
import unicodedata
from typing import Final

_SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor, erase
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # strings: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"
)
"""Whole escape sequences (ECMA-48), so that their tails do not stay behind as rubbish."""
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters and marks without a shape; Unicode calls them default ignorable."""
_REPLACED: Final = {"Cc": "", "Cf": "", "Cs": "\ufffd", "Zl": "\n", "Zp": "\n", "Zs": " "}
"""Controls and formats (bidi overrides and zero widths are formats) go; a lone surrogate could not be encoded."""


def clean(text: str) -> str:
    """The text with its newlines and tabs, without control, bidi, zero-width and escape characters."""
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    text = _SEQUENCES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(map(_harmless, text))


def clean_name(name: str) -> str:
    """A name on one line, never empty."""
    return " ".join(clean(name).split()) or "?"


def _harmless(character: str) -> str:
    if character in "\n\t":
        return character
    if character in _INVISIBLE:
        return ""
    return _REPLACED.get(unicodedata.category(character), character)
