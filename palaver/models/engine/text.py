"""From tokens to text as it may be shown: whole characters, no part of a stop string, no hanging space."""

from collections.abc import Callable, Sequence

from palaver.models.stopping import StopStrings

Decode = Callable[[Sequence[int]], str]

_UNFINISHED = "\ufffd"
_CONTEXT = 6
"""Tokens decoded again before new ones, since many tokenizers write a word's space by what comes before it."""


class TextStream:
    """Turns the tokens of one reply into pieces; all pieces together are the reply, without outer white space.

    Where nobody waits for pieces (`live` is false) and no stop string is looked for, the text is made at the end.
    """

    def __init__(self, decode: Decode, stop: Sequence[str] = (), *, live: bool = True) -> None:
        self._decode = decode
        self._live = live or bool(stop)
        self._stops = StopStrings(stop)
        self._tokens: list[int] = []
        self._settled = 0  # tokens whose text has been taken over
        self._space = ""  # white space that is shown only if something follows
        self.text = ""
        """What has been shown."""

    @property
    def stopped_by(self) -> str | None:
        """The stop string that ended the reply."""
        return self._stops.found

    def push(self, token: int) -> str:
        """Take one more token; returns the piece that can be shown now, often empty."""
        self._tokens.append(token)
        if not self._live:
            return ""
        fresh = self._fresh()
        if fresh.endswith(_UNFINISHED):
            return ""
        self._settled = len(self._tokens)
        return self._show(self._stops.feed(fresh))

    def finish(self) -> str:
        """The last piece: what was held back and turned out to be text."""
        return self._show(self._stops.feed(self._fresh().rstrip(_UNFINISHED)) + self._stops.rest())

    def _fresh(self) -> str:
        start = max(0, self._settled - _CONTEXT)
        before = self._decode(self._tokens[start : self._settled])
        return self._decode(self._tokens[start:])[len(before) :]

    def _show(self, piece: str) -> str:
        words = (self._space + piece).rstrip()
        self._space = (self._space + piece)[len(words) :]
        if not self.text:
            words = words.lstrip()
        self.text += words
        return words
