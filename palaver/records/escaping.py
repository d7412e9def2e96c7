"""Text of others as HTML: always text, never markup."""

import html
import unicodedata
from typing import Final

_REPLACED: Final = {"Cf": "", "Zs": " ", "Zl": "\n", "Zp": "\n"}


def shown(text: str) -> str:
    """Escaped, and without the characters that HTML cannot hold or that turn a line around."""
    return html.escape("".join(map(_harmless, text.replace("\r\n", "\n").replace("\r", "\n"))))


def _harmless(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    return _REPLACED.get(unicodedata.category(character), "\ufffd")
