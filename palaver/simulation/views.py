"""A conversation as one of its two speakers sees it: the room's prompt view, without names before the words."""

from collections.abc import Mapping
from typing import Final, cast

from palaver.core.message import Message, Role
from palaver.core.prompt import seen_by
from palaver.models.model import ChatMessage, Messages

ROLES: Final = ("system", "user", "assistant")
_SEATS: dict[str, Role] = {"assistant": "model", "user": "user_sim"}


def for_assistant(messages: Messages) -> list[ChatMessage]:
    """The assistant's prompt: system texts first and in one, neighbours of one role merged."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    return _view("assistant", messages, system)


def for_user(messages: Messages, system_prompt: str) -> list[ChatMessage]:
    """The user's prompt: roles swapped, its own system prompt in place of the assistant's."""
    return _view("user", messages, system_prompt)


def _view(name: str, messages: Messages, system: str) -> list[ChatMessage]:
    said = [
        Message(
            room="rollout",
            seq=number,
            id=str(number),
            sender=message["role"],
            role=_SEATS[message["role"]],
            content=message["content"],
            timestamp="",
        )
        for number, message in enumerate(messages, 1)
        if message["role"] != "system"
    ]
    return cast(list[ChatMessage], seen_by(name, said, role=_SEATS[name], persona=system, labels=False).messages)


def checked(prefix: Messages) -> list[ChatMessage]:
    """A copy of `prefix` with `role` and `content` alone; raises ValueError naming what is wrong."""
    if isinstance(prefix, str | Mapping):
        raise ValueError(f"a prefix is a list of messages, not one {type(prefix).__name__}")
    copied: list[ChatMessage] = []
    for number, message in enumerate(prefix):
        if not isinstance(message, Mapping):
            raise ValueError(f"message {number} of the prefix is {type(message).__name__}, not a dict")
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise ValueError(f"message {number} of the prefix has the role {role!r}; known: {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise ValueError(f"message {number} of the prefix has {type(content).__name__} for content, not text")
        copied.append({"role": str(role), "content": content})
    return copied
