"""Conversations and speakers that several tests use."""

from collections.abc import Sequence
from typing import Any, Unpack

from palaver.models.model import ChatMessage
from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator
from palaver.simulation.talk import LimitOptions

SYSTEM: ChatMessage = {"role": "system", "content": "You are a helpful assistant."}
QUESTION: ChatMessage = {"role": "user", "content": "What is gradient descent?"}
ANSWER: ChatMessage = {"role": "assistant", "content": "A way downhill."}


def shape(messages: Sequence[ChatMessage]) -> str:
    """`S`, `U` and `A`, one a message."""
    return "".join(message["role"][0].upper() for message in messages)


def numbered(side: str) -> ScriptedModel:
    """Says `side 1`, `side 2` and so on, by how often it has spoken in the conversation it is shown."""

    def script(prompt: Sequence[ChatMessage]) -> str:
        return f"{side} {1 + sum(message['role'] == 'assistant' for message in prompt)}"

    return ScriptedModel(script, name=side)


def simulator(user: Any = None, assistant: Any = None, **limits: Unpack[LimitOptions]) -> ChatSimulator:
    """Speakers given, or scripted ones."""
    return ChatSimulator(assistant or numbered("answer"), user or numbered("question"), **limits)
