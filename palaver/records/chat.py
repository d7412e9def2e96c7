"""Conversations as chat models are trained on them: OpenAI's messages, ShareGPT's turns, TRL's rows."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from palaver.core.message import Message, Role, same_name
from palaver.core.prompt import seen_by

_SHAREGPT: Final = {"system": "system", "user": "human", "assistant": "gpt"}

Turn = dict[str, str]


def turns_of(messages: Sequence[Message], name: str) -> list[Turn]:
    """The conversation as `name` sees it: its words are the assistant's, in a talk between two without labels."""
    others = {message.sender for message in messages if not same_name(message.sender, name)}
    return seen_by(name, messages, role=role_of(messages, name), labels=len(others) > 1).messages


def openai_row(messages: Sequence[Message], name: str | None) -> dict[str, Any]:
    """One object with `messages`. Without a `name` each message stands alone and bears its author's."""
    if name is not None:
        return {"messages": turns_of(messages, name)}
    public = [message for message in messages if message.to is None and message.redacted is None]
    return {"messages": [_named(message) for message in public]}


def _named(message: Message) -> Turn:
    if message.sender == "system":
        return {"role": "system", "content": message.content}
    role = "assistant" if message.role == "model" else "user"
    return {"role": role, "name": message.sender, "content": message.content}


def sharegpt_row(messages: Sequence[Message], name: str) -> dict[str, Any]:
    """One object with `conversations`, as `name` sees it."""
    turns = turns_of(messages, name)
    return {"conversations": [{"from": _SHAREGPT[turn["role"]], "value": turn["content"]} for turn in turns]}


def trl_rows(messages: Sequence[Message], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row of `messages` for each name that spoke, up to its last word: for supervised fine-tuning."""
    for name in names:
        turns = turns_of(messages, name)
        while turns and turns[-1]["role"] != "assistant":
            turns.pop()
        if turns:
            yield {"messages": turns}


def models_of(messages: Sequence[Message]) -> list[str]:
    """The models that spoke, in order; where none did, whoever spoke first."""
    models = dict.fromkeys(message.sender for message in messages if message.role == "model")
    return list(models) or [message.sender for message in messages[:1]]


def role_of(messages: Sequence[Message], name: str) -> Role:
    """The role under which `name` last spoke; a model's where it has said nothing."""
    return next((each.role for each in reversed(messages) if same_name(each.sender, name)), "model")
