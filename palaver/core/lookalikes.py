"""Names that look like another: letters of two alphabets in one word, or one alphabet's letters for another's."""

import unicodedata
from typing import Final

_ALPHABETS: Final = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
"""Alphabets with letters that are drawn alike; nobody writes one word in two of them."""

_DRAWN_ALIKE: Final = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухһԁԛԝ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορυχ",  # noqa: RUF001  Cyrillic, then Greek
    "ABESIJKMHOPCTYXaesijopcyxhdqw" + "ABEZHIKMNOPTYXaikvopux",
)

MOST_MARKS: Final = 3


def mixed_word(name: str) -> str | None:
    """The first word that mixes alphabets, `None` where none does."""
    if name.isascii():
        return None
    for word in name.split():
        found = {unicodedata.name(letter, "").partition(" ")[0] for letter in word if letter.isalpha()}
        if len(found.intersection(_ALPHABETS)) > 1:
            return word
    return None


def is_buried(name: str) -> bool:
    """Whether marks without a letter, or a heap of them on one, make a name unreadable. Three are used in earnest."""
    marks = MOST_MARKS  # as if there were some before: none may come first
    for letter in name:
        marks = marks + 1 if unicodedata.category(letter).startswith("M") else 0
        if marks > MOST_MARKS:
            return True
    return False


def skeleton(name: str) -> str:
    """What is left of a name when letters that are drawn alike are the same and letter case does not count."""
    return name.translate(_DRAWN_ALIKE).casefold()
