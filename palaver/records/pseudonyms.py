"""Who said it, taken out: pseudonyms for names, also where a text speaks of them, and nothing told of what made it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Final

import msgspec

from palaver.core.message import Message, key_of

_KEPT: Final = ("completion_tokens", "total_seconds", "stop_reason")
"""The only `meta` that stays: a prompt's length or hash, a device or a price could tell which model it was."""
_BETWEEN: Final = r"[\s_\-]*"
"""What may stand between the words of a name: `Zen Sage`, `zen_sage` and `ZenSage` are one."""


class Blinding:
    """The pseudonym of every name. `key` opens it again: pseudonym to name.

    They are given in order of appearance; with a `seed` in an order drawn from it, so that being first tells nothing.
    """

    def __init__(self, names: Iterable[str], *, seed: int | None = None) -> None:
        known: dict[str, str] = {}
        for name in names:
            if name != "system":
                known.setdefault(key_of(name), name)
        order = list(known)
        if seed is not None:
            Random(seed).shuffle(order)
        free = (name for name in _pseudonyms() if key_of(name) not in known)
        self._of = {key: next(free) for key in order}
        self.key = {pseudonym: known[key] for key, pseudonym in self._of.items()}
        self._pattern = _pattern(self._of)
        self._squeezed = {_squeezed(key): pseudonym for key, pseudonym in self._of.items()}

    def name(self, name: str) -> str:
        """The pseudonym of a name; `system` stays, an unknown one is nobody."""
        return name if name == "system" else self._of.get(key_of(name), "Somebody")

    def text(self, text: str) -> str:
        """The text with every name in it replaced: whole words, whatever their case, longest names first."""
        if self._pattern is None:
            return text
        folded, at = _folded(text)
        pieces, end = [], 0
        for found in self._pattern.finditer(folded):
            first, last = at[found.start()], at[found.end() - 1] + 1
            if first < end:
                continue
            pieces += [text[end:first], self._of.get(found[0]) or self._squeezed[_squeezed(found[0])]]
            end = last
        return "".join([*pieces, text[end:]])

    def message(self, message: Message) -> Message:
        """The message without a trace of who wrote it."""
        return msgspec.structs.replace(
            message,
            id=f"{message.seq}",
            sender=self.name(message.sender),
            to=None if message.to is None else self.name(message.to),
            content=self.text(message.content),
            redacted=None if message.redacted is None else self.text(message.redacted),
            meta=self._meta(message) or None,
        )

    def _meta(self, message: Message) -> dict[str, object]:
        kept = {name: value for name, value in (message.meta or {}).items() if name in _KEPT}
        return {**kept, "sent_as": True, "by": self.name(message.written_by)} if message.written_by else kept


def blinded(
    messages: Sequence[Message], *, names: Iterable[str] = (), seed: int | None = None
) -> tuple[list[Message], Blinding]:
    """The messages under pseudonyms, and what opens them. `names` are of those who said nothing."""
    there = [*(message.sender for message in messages), *(message.to for message in messages if message.to), *names]
    there += [message.written_by for message in messages if message.written_by]
    blinding = Blinding(there, seed=seed)
    return [blinding.message(message) for message in messages], blinding


def _pseudonyms() -> Iterator[str]:
    number = 0
    while True:
        rest, letters = number, ""
        while rest >= 0:
            letters = chr(ord("A") + rest % 26) + letters
            rest = rest // 26 - 1
        yield f"Speaker {letters}"
        number += 1


def _pattern(keys: Iterable[str]) -> re.Pattern[str] | None:
    parts = [_BETWEEN.join(map(re.escape, _words(key))) for key in sorted(keys, key=len, reverse=True)]
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)") if parts else None


def _words(key: str) -> list[str]:
    return [word for word in re.split(r"[\s_\-]+", key) if word] or [key]


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_\-]+", "", text) or text


def _folded(text: str) -> tuple[str, list[int]]:
    """The text without case, and where each of its characters comes from: folding may make one into several."""
    folded, at = [], []
    for place, character in enumerate(text):
        for one in character.casefold():
            folded.append(one)
            at.append(place)
    return "".join(folded), at
