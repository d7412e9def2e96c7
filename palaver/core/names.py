"""What somebody may be called, and a room: checked once, where a name comes in."""

import unicodedata
from typing import Annotated, Final

import msgspec

from palaver.core.errors import ProtocolError
from palaver.core.lookalikes import is_buried, mixed_word
from palaver.core.message import key_of

MAX_NAME: Final = 64
RESERVED: Final = frozenset({"system", "hub", "server", "all", "everyone", "here"})
"""Names that nobody may bear, in the form of `key_of`."""
ROOM_FORM: Final = "1 to 64 letters, digits, dots, dashes and underscores, and begin with one of the first two"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
RoomName = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]


def tidy_name(name: str) -> str:
    """The name as the room knows it: NFKC, single spaces; raises `ProtocolError` for what cannot be a name."""
    tidy = " ".join(unicodedata.normalize("NFKC", name).split())
    if not tidy or len(tidy) > MAX_NAME:
        raise ProtocolError(f"name {name!r} must have 1 to {MAX_NAME} characters")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Co", "Cn", "Cs"} for character in tidy) or '"' in tidy:
        raise ProtocolError(f"name {tidy!r} must not hold control or invisible characters, or quotes")
    if is_buried(tidy):
        raise ProtocolError(f"name {tidy!r} has marks without a letter, or too many on one")
    if (word := mixed_word(tidy)) is not None:
        raise ProtocolError(f"name {tidy!r} mixes alphabets in the word {word!r}, which hides who it is; use one")
    if key_of(tidy) in RESERVED:
        raise ProtocolError(f"name {tidy!r} is reserved; choose another")
    return tidy


def room_name(text: str) -> str:
    """The text, where it can name a room; raises `ProtocolError`."""
    try:
        return msgspec.convert(text, RoomName)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"room {text!r} must have {ROOM_FORM}") from error
