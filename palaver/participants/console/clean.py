"""What others wrote, made harmless for a terminal: nothing in it moves the cursor, hides or reorders anything."""

import contextlib
import re
import unicodedata
from typing import Final

import idna
import wcwidth

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
_JOINER: Final = re.compile("[\u200c\u200d]")
_NEAR: Final = 16
"""Characters on either side of a joiner that are looked at: more marks than any letter or emoji has."""


def clean(text: str) -> str:
    """The text with its newlines and tabs, without control, bidi and escape characters, and nothing that is invisible.

    A zero-width joiner or non-joiner stays where it makes a difference that can be seen (`_joins`).
    """
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    text = _SEQUENCES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _JOINER.sub(_joins, "".join(map(_harmless, text)))


def clean_name(name: str) -> str:
    """A name on one line, never empty. No joiner stays in it: two names that look the same are the same."""
    return " ".join(unjoined(clean(name)).split()) or "?"


def unjoined(text: str) -> str:
    """The text without any zero-width joiner or non-joiner."""
    return _JOINER.sub("", text)


def separate(text: str) -> str:
    """The text with nothing that terminals join: prompt_toolkit lays out each character for itself."""
    return _JOINING.sub("", text)


_JOINING: Final = re.compile("[\u200c\u200d\u20e3\ufe0e\ufe0f\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff]")
"""Joiners, keycaps, variation selectors, the letters of flags, skin tones."""


def _joins(found: re.Match[str]) -> str:
    """The joiner where it belongs: within a sequence of emoji (UAX #29, rule GB11), or as RFC 5892, A.1 and A.2 say.

    These are after a virama (Indic scripts) and, for a non-joiner, between letters that would be joined (Persian).
    """
    place = min(found.start(), _NEAR)
    near = found.string[found.start() - place : found.end() + _NEAR]
    with contextlib.suppress(ValueError):  # what stands there has no name, such as a newline
        if idna.valid_contextj(near, place):
            return found.group()
    *_, last = wcwidth.iter_graphemes(near[: place + 2])
    follows_in_it = near[place + 1 : place + 2] if len(last) > 2 else ""
    return found.group() if follows_in_it and unicodedata.category(follows_in_it) not in _ADDED else ""


_ADDED: Final = frozenset({"Mn", "Mc", "Me", "Cf", "Sk"})
"""Marks, joiners and skin tones belong to the emoji before them."""


def _harmless(character: str) -> str:
    if character in "\n\t\u200c\u200d":
        return character
    if character in _INVISIBLE:
        return ""
    return _REPLACED.get(unicodedata.category(character), character)
