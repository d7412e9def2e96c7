"""A model that answers from a record of its replies, and never from anything else."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from palaver.core.errors import PalaverError
from palaver.models.model import Cancel, ChatMessage, LLMResponse

SHORT: Final = 16
"""Hex digits of a request's hash that are kept."""
MOST_PARTS: Final = 32
"""So many of a prompt's messages have a mark of their own, the last ones."""

Messages = Sequence[ChatMessage] | Sequence[Mapping[str, str]]


def request_hash(messages: Messages, *, temperature: float, max_tokens: int) -> str:
    """The key of a request, whatever model it is for: SHA-256 of its messages and sampling as canonical JSON."""
    told = [[message["role"], message["content"]] for message in messages]
    return _hash({"messages": told, "temperature": float(temperature), "max_tokens": int(max_tokens)})[:SHORT]


def parts_of(messages: Messages) -> str:
    """A short mark of each message of a prompt: enough to say later which of them was another."""
    return " ".join(_hash([message["role"], message["content"]])[:6] for message in messages[-MOST_PARTS:])


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class NotRecorded(PalaverError):
    """A request that the record does not hold: nobody was asked."""


class RecordedModel:
    """Answers each request as it was answered before. The key is the participant (`cache_key`), the hash of the
    request, and how often that participant has asked it already; a request without an answer raises `NotRecorded`.
    """

    name = "recorded"

    def __init__(self, replies: Mapping[tuple[str, str], Sequence[LLMResponse]]) -> None:
        self._replies = replies
        self._asked: Counter[tuple[str, str]] = Counter()

    def knows(self, participant: str, request: str) -> bool:
        """Whether there is an answer left for a request of that hash."""
        key = (participant, request)
        return self._asked[key] < len(self._replies.get(key, ()))

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 100,
        temperature: float = 0.7,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """The recorded answer; `stop` and `seed` made it and are not asked for again."""
        key = (cache_key, request_hash(messages, temperature=temperature, max_tokens=max_tokens))
        if not self.knows(*key):
            raise NotRecorded(f"{cache_key} was never asked this (request {key[1]}, occurrence {self._asked[key] + 1})")
        response = self._replies[key][self._asked[key]]
        self._asked[key] += 1
        if on_text is not None:
            on_text(response.content)
        return response

    async def close(self) -> None:
        """Nothing to let go of."""
