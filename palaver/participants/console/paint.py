"""Colours: each participant keeps one, notices are dim, errors red, alarms loud; none where none are wanted."""

import zlib
from typing import Final, Literal

from colorama import Back, Fore, Style

from palaver.core.message import key_of

Tone = Literal["chat", "echo", "own", "whisper", "notice", "result", "warning", "error", "alarm"]
"""What kind of thing is said, which decides its colour and its mark."""

_TONES: Final[dict[Tone, str]] = {
    "chat": "",
    "own": "",
    "echo": Style.DIM,
    "whisper": Fore.MAGENTA,
    "notice": Style.DIM,
    "result": "",
    "warning": Fore.YELLOW,
    "error": Fore.RED,
    "alarm": Style.BRIGHT + Back.RED + Fore.WHITE,
}
_NAMES: Final = (
    Fore.CYAN,
    Fore.GREEN,
    Fore.YELLOW,
    Fore.MAGENTA,
    Fore.LIGHTBLUE_EX,
    Fore.LIGHTCYAN_EX,
    Fore.LIGHTGREEN_EX,
    Fore.LIGHTMAGENTA_EX,
    Fore.LIGHTYELLOW_EX,
)
"""Red is for errors, and plain blue cannot be read on black."""


class Paint:
    """Puts colours around plain text. A name keeps its colour as long as this object lives."""

    def __init__(self, *, colour: bool) -> None:
        self.colour = colour
        self._of: dict[str, int] = {}

    def name(self, name: str) -> str:
        """The name in its own colour; two names share one only when there are more names than colours."""
        return self._wrapped(_NAMES[self._place(name)] + Style.BRIGHT, name)

    def toned(self, tone: Tone, text: str) -> str:
        """The text in the colour of what it is."""
        return self._wrapped(_TONES[tone], text)

    def dim(self, text: str) -> str:
        """Text that should not draw the eye."""
        return self._wrapped(Style.DIM, text)

    def bold(self, text: str) -> str:
        """Text that should."""
        return self._wrapped(Style.BRIGHT, text)

    def _wrapped(self, codes: str, text: str) -> str:
        return f"{codes}{text}{Style.RESET_ALL}" if self.colour and codes and text else text

    def _place(self, name: str) -> int:
        key = key_of(name)
        if key not in self._of:
            first = zlib.crc32(key.encode("utf-8", "replace")) % len(_NAMES)
            order = [(first + step) % len(_NAMES) for step in range(len(_NAMES))]
            taken = list(self._of.values())
            self._of[key] = min(order, key=taken.count)
        return self._of[key]
