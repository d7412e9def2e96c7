"""A reply in the making: which of it is the participant's own words, and which may be streamed already.

What is let out is always a beginning of what is said in the end (`core.prompt.own_words`): text that might still turn
out to be somebody's label, or `[PASS]`, waits.
"""

from collections.abc import Sequence

from palaver.core.message import same_name
from palaver.core.prompt import PASS, own_words
from palaver.core.protocol import MAX_CONTENT


class Utterance:
    """What one participant is about to say, piece by piece."""

    def __init__(self, name: str, others: Sequence[str]) -> None:
        self._name = name
        self.others = [other for other in others if not same_name(other, name)]
        self._let_out = 0
        self.raw = ""
        """What the model wrote."""

    def feed(self, piece: str) -> None:
        """Take the next piece of what the model writes."""
        self.raw += piece

    def ready(self) -> str:
        """What can be let out now and was not yet; of more than a message takes, nothing."""
        if self._let_out >= MAX_CONTENT:
            return ""
        safe = self._safe()[:MAX_CONTENT]
        fresh = safe[self._let_out :]
        self._let_out = max(self._let_out, len(safe))
        return fresh

    def _safe(self) -> str:
        text = self.raw.lstrip()
        if _may_be_label(text, [self._name]) or is_pass(text) or PASS.startswith(_bare(text)):
            return ""
        said, cut = own_words(text, self._name, self.others)
        if cut:
            return said
        line = said.rfind("\n") + 1
        return said[:line].rstrip() if _may_be_label(text[text.rfind(said[line:]) :], self.others) else said


def is_pass(text: str) -> bool:
    """Whether a whole reply says no more than that nothing is to be said."""
    return _bare(text) == PASS


def _bare(text: str) -> str:
    return text.strip().strip("\"'. ").upper()


def _may_be_label(text: str, names: Sequence[str]) -> bool:
    """Whether `text`, to its end, may be the beginning of a line like `**Zen Sage** :`."""
    text = text.lstrip(" \t").removeprefix("*").removeprefix("*").casefold()
    for name in map(str.casefold, names):
        if name.startswith(text) or (text.startswith(name) and not text[len(name) :].replace("*", "").strip()):
            return True
    return False
