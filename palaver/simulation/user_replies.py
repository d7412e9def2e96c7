"""What a simulated user's model wrote, and what of it the user says: no thoughts aloud, no JSON around the words."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palaver.simulation.json_text import objects

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_BEFORE = re.compile(r"\A.*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_THOUGHT_UNENDED = re.compile(r"\A\s*<(?:think|thinking|reasoning)>.*\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UserReply:
    """A simulated user's turn as it was meant. `text` is what the assistant hears."""

    text: str
    thought: str = ""
    current_answer: str = ""
    raw: str = ""
    """What the model wrote."""


def read(raw: str) -> UserReply:
    """The turn in what a model wrote.

    Thinking blocks are taken off. A JSON object with `response` (and `thought`, `current_answer`), fenced or bare,
    is taken apart; what cannot be parsed so is said as it stands.
    """
    text = without_thinking(raw)
    fields = _fields(text)
    if fields is None:
        return UserReply(text, raw=raw)
    return UserReply(
        str(fields["response"]).strip(), _words(fields.get("thought")), _words(fields.get("current_answer")), raw
    )


def without_thinking(text: str) -> str:
    """`text` without `<think>` blocks, also where the opening or the closing tag is missing."""
    text = _THINKING.sub("", text)
    text = _THOUGHT_BEFORE.sub("", text)
    return _THOUGHT_UNENDED.sub("", text).strip()


def _fields(text: str) -> Mapping[str, Any] | None:
    alone = text.startswith(("{", "```"))
    for fields in objects(text):
        named = alone or "thought" in fields or "current_answer" in fields
        if named and isinstance(fields.get("response"), str):
            return fields
    return None


def _words(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
