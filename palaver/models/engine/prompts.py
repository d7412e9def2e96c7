"""From messages to tokens: chat template or stated fallback, nothing typed by a member taken for a control token.

It does not know whose view the messages are (`palaver.core.prompt` made them) and keeps no state but tokenizer facts.
"""

import copy
import hashlib
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from palaver.core.errors import ModelError
from palaver.models.engine.overflow import fit
from palaver.models.model import ChatMessage

logger = logging.getLogger(__name__)

FALLBACK_STOPS = ("\nUser:", "\nAssistant:", "\nSystem:")
"""What ends a reply of a base model without a chat template; for its format see `Prompter.render`."""
_LABELS = {"user": "User", "assistant": "Assistant"}
_GO_ON = "(go on)"
"""The user turn put in where a strict template wants one and nobody spoke."""
_TEMPLATE_FAILS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""A template is somebody's program, and fails in any way that a program may."""
_LOOKS_LIKE_CONTROL = re.compile(r"[<\[].*[>\]]")

_MARKUP = re.compile(r"<\|[^<>|\s]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>")
"""What role markers look like, also where a tokenizer does not list them as special (TinyLlama's `<|user|>`)."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens ready to continue, and what had to be done to the messages."""

    tokens: list[int]
    stop: tuple[str, ...] = ()
    """Stop strings that the format itself needs."""
    trimmed_messages: int = 0
    truncated_tokens: int = 0
    """Tokens cut from the start of a last message that was too long by itself."""
    system_merged: bool = False
    """Whether the personality went into the first user turn because the template has no system role."""
    room: int = 0
    """Tokens that are left for the reply."""

    @property
    def hash(self) -> str:
        """Short fingerprint of the tokens."""
        return hashlib.sha256(repr(self.tokens).encode()).hexdigest()[:16]


class Prompter:
    """Makes prompts for one tokenizer. Thread-safe: one prompt is made at a time."""

    def __init__(self, tokenizer: Any, *, context_tokens: int) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)  # the engine's thread decodes with the other one meanwhile
        self._lock = threading.Lock()
        self.context_tokens = context_tokens
        """Prompt and reply together may be this long."""
        self._has_template = bool(getattr(tokenizer, "chat_template", None))
        self._mark = "\ue000\ue001\ue002"

    @cached_property
    def template_hash(self) -> str:
        """Fingerprint of the chat template; `fallback` where there is none."""
        if not self._has_template:
            return "fallback"
        return hashlib.sha256(repr(self._tokenizer.chat_template).encode()).hexdigest()[:16]

    @cached_property
    def has_system_role(self) -> bool:
        """Whether the template shows a system message (some refuse it, some leave it out)."""
        if not self._has_template:
            return True
        probe: list[ChatMessage] = [
            {"role": "system", "content": "probe-s"},
            {"role": "user", "content": "probe-u"},
        ]
        try:
            return "probe-s" in self._apply(probe)
        except _TEMPLATE_FAILS:
            return False

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Special tokens that the template puts behind an assistant's words."""
        if not self._has_template:
            return frozenset()
        probe: list[ChatMessage] = [
            {"role": "user", "content": "probe-u"},
            {"role": "assistant", "content": "probe-a"},
        ]
        try:
            after = self._apply(probe, add_generation_prompt=False).partition("probe-a")[2]
        except _TEMPLATE_FAILS:
            return frozenset()
        first = self._encode(after)[:1]
        return frozenset(first) & frozenset(self._tokenizer.all_special_ids)

    def build(self, messages: Sequence[ChatMessage], *, max_tokens: int, context_tokens: int = 0) -> Prompt:
        """The prompt for `messages`, cut from the oldest so that `max_tokens` of reply fit too.

        `context_tokens` lowers the model's own limit. Raises `ModelError` when the personality alone is too long.
        """
        limit = min(self.context_tokens, context_tokens or self.context_tokens)
        room = max(limit - max_tokens, limit // 2)
        with self._lock:
            ready = _system_first(messages)
            fitted = fit(ready, room=room, encode=self.tokens_of, count=self._count, cut=self._cut)
            stop = () if self._has_template else FALLBACK_STOPS
            merged = not self.has_system_role and ready[0]["role"] == "system"
            left = limit - len(fitted.tokens)
            return Prompt(fitted.tokens, stop, fitted.trimmed_messages, fitted.truncated_tokens, merged, left)

    def tokens_of(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Tokens of the conversation up to where the assistant's reply begins."""
        safe: list[ChatMessage] = [
            {"role": message["role"], "content": self._harmless(message["content"], message["role"])}
            for message in messages
        ]
        rendered = self.render(safe if self.has_system_role else _system_in_first_turn(safe))
        tokens = [token for piece in rendered.split(self._mark) for token in self._encode(piece)]
        if not self._has_template:
            tokens = self._opening + tokens
        return tokens or self._opening or [0]

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The conversation as text, by the template.

        Without one: system text, an empty line, then `User: …` and `Assistant: …` lines, ending in `Assistant:`.
        Templates that insist on user and assistant taking turns get neighbours merged and an opening user turn.
        """
        if not self._has_template:
            return _fallback(messages)
        try:
            return self._apply(messages)
        except _TEMPLATE_FAILS:
            logger.debug("the chat template refuses these messages as they are; merging", exc_info=True)
        try:
            return self._apply(_alternating(messages))
        except _TEMPLATE_FAILS as error:
            raise ModelError(f"the model's chat template refuses the conversation: {error}") from error

    @cached_property
    def _opening(self) -> list[int]:
        """What the tokenizer itself puts first (BOS); templates bring their own, so it is never there twice."""
        opening = list(self._tokenizer("", add_special_tokens=True)["input_ids"])
        bos = self._tokenizer.bos_token_id
        return [bos] if bos is not None and bos in opening else []

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Text that this tokenizer, or a usual template, would take for control."""
        added = self._tokenizer.added_tokens_decoder.values()
        words = {token.content for token in added if token.special or _LOOKS_LIKE_CONTROL.fullmatch(token.content)}
        return _any_of(words | set(self._tokenizer.all_special_tokens), _MARKUP.pattern)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """The same for an assistant's own words, where templates look for `<think>` and the like."""
        return _any_of(set(self._tokenizer.all_special_tokens), _MARKUP.pattern)

    def _harmless(self, text: str, role: str) -> str:
        """`text` with a mark inside everything that looks like control; tokens never reach across a mark."""
        text = text.replace(self._mark, "")
        control = self._special if role == "assistant" else self._control
        while True:
            broken = control.sub(lambda found: found[0][0] + self._mark + found[0][1:], text)
            if broken == text:
                return text
            text = broken

    def _apply(self, messages: Sequence[ChatMessage], add_generation_prompt: bool = True) -> str:
        rendered = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,  # a hundred tokens of a chat reply are no room for thoughts; others ignore it
        )
        return str(rendered)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _cut(self, text: str, tokens: int) -> str:
        """The end of `text`, as long as `tokens` tokens are."""
        ids = self._encode(text)[-tokens:] if tokens > 0 else []
        return str(self._tokenizer.decode(ids, skip_special_tokens=False)).lstrip("\ufffd")

    def _count(self, text: str) -> int:
        return len(self._encode(text))


def _any_of(words: set[str], pattern: str) -> re.Pattern[str]:
    longest_first = sorted((text for text in words if len(text) > 1 and not text.isspace()), key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, longest_first), pattern]))


def _system_first(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """At most one system message, at the start; at least one message at all."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    others = [message for message in messages if message["role"] != "system"]
    head: list[ChatMessage] = [{"role": "system", "content": system}] if system else []
    return [*head, *others] or [{"role": "user", "content": ""}]


def _system_in_first_turn(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The personality in front of the first user message, for templates without a system role."""
    if messages[0]["role"] != "system":
        return list(messages)
    system, rest = messages[0]["content"], list(messages[1:])
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    return [{"role": "user", "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]


def _alternating(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Neighbours of one role merged, a user turn first and last, as strict templates want it."""
    merged: list[ChatMessage] = []
    for message in messages:
        role, content = message["role"], message["content"]
        if not merged and role == "assistant":
            merged.append({"role": "user", "content": _GO_ON})
        if merged and merged[-1]["role"] == role:
            merged[-1] = {"role": role, "content": f"{merged[-1]['content']}\n{content}"}
        elif len(merged) == 1 and merged[0]["role"] == "system" and role == "assistant":
            merged += [{"role": "user", "content": _GO_ON}, {"role": role, "content": content}]
        else:
            merged.append({"role": role, "content": content})
    if merged[-1]["role"] != "user":
        merged.append({"role": "user", "content": _GO_ON})
    return merged


def _fallback(messages: Sequence[ChatMessage]) -> str:
    lines = [f"{message['content']}\n" for message in messages if message["role"] == "system"]
    turns = (message for message in messages if message["role"] != "system")
    lines += [f"{_LABELS[message['role']]}: {message['content']}" for message in turns]
    return "\n".join([*lines, "Assistant:"])
