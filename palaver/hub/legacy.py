"""Clients of LLM Party Chat as they are: `{"name","type"}`, then `{"type":"message","content"}`.

They know `message` and `system` frames only, see no echo of their own words, and are told in `system` frames what
others learn from acknowledgements and presence.
"""

from typing import Literal

import msgspec

from palaver.core.errors import ProtocolError
from palaver.core.message import Message, same_name
from palaver.core.names import tidy_name
from palaver.core.protocol import Error, Event, HubFrame, Join, Nack, Presence, Say, System, encode
from palaver.hub.session import Session


class _Registration(msgspec.Struct, frozen=True):
    name: str
    type: Literal["model", "human"]


class _Words(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    type: Literal["message"]
    content: str
    sender: str | None = None


_registration_decoder = msgspec.json.Decoder(_Registration)
_words_decoder = msgspec.json.Decoder(_Words)


def decode_registration(raw: bytes) -> Join | None:
    """The registration as a `Join`, `None` where it is none; raises `ProtocolError` for a name that cannot be."""
    try:
        registration = _registration_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    role: Literal["model", "moderator"] = "moderator" if registration.type == "human" else "model"
    return Join(name=tidy_name(registration.name), role=role, deltas=False, about="LLM Party Chat client")


def decode_words(raw: bytes, name: str) -> Say:
    """What such a client says; raises `ProtocolError`, also where it names another sender than itself."""
    try:
        words = _words_decoder.decode(raw)
        if words.sender is not None and not same_name(words.sender, name):
            raise ProtocolError(f"field 'from' is stamped by the hub: you are {name}, not {words.sender}")
        return msgspec.convert({"type": "message", "content": words.content}, Say)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"frame must be an object with type 'message' and a content: {error}") from error


def rendered(frame: HubFrame, session: Session) -> bytes | None:
    """The frame as such a client understands it, `None` where it has no word for it."""
    match frame:
        case Message():
            return None if same_name(frame.sender, session.name) else encode(frame)
        case System():
            return encode(frame)
        case Presence(state="joined" | "left"):
            why = f" ({frame.text})" if frame.text else ""
            return _system(frame.room, frame.timestamp, f"{frame.name} {frame.state}{why}")
        case Nack() | Error():
            return _system(frame.room, frame.timestamp, f"not taken ({frame.code}): {frame.reason}")
        case Event(kind="command" | "ended"):
            return _system(frame.room, frame.timestamp, frame.text)
    return None


def _system(room: str, timestamp: str, content: str) -> bytes:
    return encode(System(room=room, timestamp=timestamp, content=content))
