"""A conversation as a ConvoKit corpus: the five files of its folder (ConvoKit's documentation, "data format")."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from palaver.core.message import Message
from palaver.records.figures import seconds

_META: Final = {"seq": int, "turn": int, "role": str, "model": str, "completion_tokens": int, "total_seconds": float}
"""What is told of an utterance, and of which kind it is."""


def to_convokit(messages: Sequence[Message], *, title: str = "") -> dict[str, bytes]:
    """The files by name. What was said to all is an utterance; it replies to the one before where it says no other."""
    said = [message for message in messages if message.to is None and message.redacted is None]
    idents = {message.seq: f"{message.room or 'room'}-{message.seq}" for message in said}
    conversation = next(iter(idents.values()), "empty")
    utterances, speakers, before = [], dict[str, Any](), None
    for message in said:
        speakers.setdefault(message.sender, {"meta": {"role": message.role}, "vectors": []})
        utterances.append(_utterance(message, idents, conversation, before))
        before = idents[message.seq]
    meta = {"title": title, "messages": len(said)}
    return {
        "utterances.jsonl": b"".join(msgspec.json.encode(one) + b"\n" for one in utterances),
        "speakers.json": msgspec.json.encode(speakers),
        "conversations.json": msgspec.json.encode({conversation: {"meta": meta, "vectors": []}} if said else {}),
        "corpus.json": msgspec.json.encode({"name": title}),
        "index.json": msgspec.json.encode(_index()),
    }


def _utterance(message: Message, idents: Mapping[int, str], conversation: str, before: str | None) -> dict[str, Any]:
    told = {"seq": message.seq, "turn": message.turn, "role": message.role, **(message.meta or {})}
    earlier = message.reply_to if message.reply_to is not None and message.reply_to < message.seq else None
    return {
        "id": idents[message.seq],
        "conversation_id": conversation,
        "text": message.content,
        "speaker": message.sender,
        "meta": {name: _as(kind, told.get(name)) for name, kind in _META.items()},
        "reply-to": before and idents.get(earlier or 0, before),
        "timestamp": int(seconds(message.timestamp)),
        "vectors": [],
    }


def _as(kind: type, value: Any) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value if isinstance(value, kind) else None


def _index() -> dict[str, Any]:
    def kinds(**of: type) -> dict[str, list[str]]:
        return {name: [str(kind)] for name, kind in of.items()}

    return {
        "utterances-index": {name: [str(kind)] for name, kind in _META.items()},
        "speakers-index": kinds(role=str),
        "conversations-index": kinds(title=str, messages=int),
        "overall-index": kinds(name=str),
        "version": 1,
        "vectors": [],
    }
