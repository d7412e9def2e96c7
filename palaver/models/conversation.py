"""A conversation that keeps its state: messages in order, and which model answered last. Sends nothing itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from palaver.models.limits import estimate_tokens
from palaver.models.model import ChatMessage, Messages

_LOG_VERSION = 1


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `Message.user(text)`, `Message.ai(text)`, `Message.system(text)`, `Message.tool(text, call_id)`."""

    role: str
    """`system`, `user`, `assistant` or `tool`."""
    content: str | Sequence[Mapping[str, Any]] | None = None
    """Text, or parts in OpenAI's form (text, images), or nothing where only tools are called."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    tool_call_id: str | None = None

    @classmethod
    def user(cls, text: str) -> "Message":
        """What the user says."""
        return cls("user", text)

    @classmethod
    def ai(cls, text: str) -> "Message":
        """What the model said."""
        return cls("assistant", text)

    @classmethod
    def system(cls, text: str) -> "Message":
        """How the model is to behave."""
        return cls("system", text)

    @classmethod
    def tool(cls, text: str, call_id: str) -> "Message":
        """What a tool that the model called gave back."""
        return cls("tool", text, tool_call_id=call_id)

    @property
    def completion(self) -> str | None:
        """The text, or None where there is none: the first text part of several."""
        if isinstance(self.content, str):
            return self.content or None
        texts = (part.get("text") for part in self.content or () if part.get("type") == "text")
        return next((text for text in texts if text), None)

    def to_openai(self) -> dict[str, Any]:
        """The message as OpenAI's chat format has it."""
        told: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            told["tool_calls"] = [dict(call) for call in self.tool_calls]
        if self.tool_call_id is not None:
            told["tool_call_id"] = self.tool_call_id
        return told

    @classmethod
    def from_openai(cls, message: Mapping[str, Any]) -> "Message":
        """The message of OpenAI's chat format; raises ValueError where it is none."""
        if not isinstance(message, Mapping):
            raise ValueError(f"a message is a dict with role and content, not {message!r}")
        if not isinstance(message.get("role"), str):
            raise ValueError(f"a message needs a role: {dict(message)!r}")
        calls = tuple(message.get("tool_calls") or ())
        return cls(message["role"], message.get("content"), calls, message.get("tool_call_id"))


class _StartOrAdd:
    """A method that begins a conversation when called on the class, and adds to one when called on an instance."""

    def __init__(self, message: Callable[[str], Message]) -> None:
        self._message = message

    def __get__(
        self, conversation: "Conversation | None", owner: type["Conversation"]
    ) -> "Callable[[str], Conversation]":
        target = owner() if conversation is None else conversation
        return lambda text: target.add(self._message(text))


@dataclass(slots=True)
class Conversation:
    """The whole history, sent with every request.

    `Conversation.system(text)` begins one, as do `Conversation.user` and `Conversation.ai`; on an instance they add.
    Adding changes it in place and returns it. A request that is under way keeps the messages that it was sent with.
    """

    messages: list[Message] = field(default_factory=list)
    model_used: str | None = None
    """The model that answered last, which `prefer_model="last"` stays with."""

    system = _StartOrAdd(Message.system)
    user = _StartOrAdd(Message.user)
    ai = _StartOrAdd(Message.ai)

    def add(self, message: Message) -> Self:
        """Add a message at the end; raises TypeError for anything else."""
        if not isinstance(message, Message):
            raise TypeError(f"add takes a Message, as Message.user(text) makes one, not {type(message).__name__}")
        self.messages.append(message)
        return self

    def add_response(self, response: Any) -> Self:
        """Add what a model answered (an `APIResponse` with a completion or tool calls) and note which one it was."""
        self.model_used = response.model_used
        return self.add(Message("assistant", response.completion, tuple(response.tool_calls)))

    def fork(self) -> "Conversation":
        """A conversation of its own with the same messages so far."""
        return replace(self, messages=list(self.messages))

    def count_tokens(self) -> int:
        """About how many tokens it takes: four characters each, and six a message."""
        return estimate_tokens(sum(len(message.completion or "") for message in self.messages), len(self.messages), 0)

    def to_openai(self) -> list[dict[str, Any]]:
        """The messages in OpenAI's chat format."""
        return [message.to_openai() for message in self.messages]

    @classmethod
    def from_openai_chat(cls, messages: Messages) -> "Conversation":
        """A conversation from OpenAI's chat format; raises ValueError where it is none."""
        if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
            raise ValueError(f"a conversation is a list of messages, not {type(messages).__name__}")
        return cls([Message.from_openai(message) for message in messages])

    def to_log(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`."""
        return {"version": _LOG_VERSION, "model_used": self.model_used, "messages": self.to_openai()}

    @classmethod
    def from_log(cls, log: Mapping[str, Any]) -> "Conversation":
        """The conversation of a log; raises ValueError where it is none."""
        if not isinstance(log, Mapping):
            raise ValueError(f"a conversation log is a dict, as to_log gives it, not {type(log).__name__}")
        if log.get("version") != _LOG_VERSION:
            raise ValueError(f"a conversation log of version {log.get('version')!r}, and only 1 is known")
        messages: Any = log.get("messages")
        conversation = cls.from_openai_chat(messages)
        conversation.model_used = log.get("model_used")
        return conversation


Prompt = str | Conversation | Messages
"""What can be sent: a text (one user message), a conversation, or messages in OpenAI's format."""


def snapshot(prompt: Prompt) -> list[ChatMessage]:
    """The messages of a prompt as they are now, whatever is added to it later; raises ValueError where it is none."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    conversation = prompt if isinstance(prompt, Conversation) else Conversation.from_openai_chat(prompt)
    messages: list[Any] = conversation.to_openai()
    return messages
