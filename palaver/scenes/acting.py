"""A model that acts: what it writes is read as one action, and what the room hears is that action's words."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Final

from palaver.core.prompt import own_words
from palaver.evaluation.rule_based import LEFT, NOTHING
from palaver.models.model import Cancel, ChatMessage, LLMResponse, Model
from palaver.scenes.actions import TYPES, Action, ActionType, UnreadableAction, read
from palaver.simulation.user_replies import without_thinking

logger = logging.getLogger(__name__)

_FORMS: Final = ("{", "[", "`", "*", '"', "<", "said", "/pass", NOTHING, LEFT)
"""How text begins that may be something else than speech, and so must be whole before it is shown."""


class ActingModel:
    """Wraps the model of the agent `name`. Plain words are speech: nothing is asked twice for want of a form.

    An action that cannot be read or done is asked for once more, with the reason; then the agent does nothing, and
    the provenance says why (`action_error`). `action` there is the type of what was done.
    """

    def __init__(self, model: Model, name: str, actions: Sequence[ActionType] = TYPES) -> None:
        self.name = model.name
        self._model = model
        self._agent = name
        self._actions = actions

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
        """The next action's words; the model is asked twice at most."""

        async def ask(prompt: Sequence[ChatMessage]) -> LLMResponse:
            return await self._model.complete(
                prompt,
                max_tokens=max_tokens,
                temperature=temperature,
                stop=stop,
                seed=seed,
                on_text=_Gate(on_text, self._agent).feed if on_text is not None else None,
                cancel=cancel,
                cache_key=cache_key,
            )

        response = await ask(messages)
        try:
            return self._acted(response)
        except UnreadableAction as error:
            logger.warning("%s: %s; asked again", self._agent, error)
            if cancel is not None and cancel.is_set():
                return response
            response = _after(response, await ask(_again(messages, response.content, str(error))))
        try:
            return self._acted(response)
        except UnreadableAction as error:
            logger.error("%s does nothing: %s", self._agent, error)
            return _with(response, Action("none"), str(error))

    async def close(self) -> None:
        """Let go of the model behind it."""
        await self._model.close()

    def _acted(self, response: LLMResponse) -> LLMResponse:
        if not response.success or response.stop_reason == "cancelled":
            return response
        words, _ = own_words(without_thinking(response.content), self._agent, ())
        return _with(response, read(words, self._actions))


def _with(response: LLMResponse, action: Action, error: str = "") -> LLMResponse:
    told = {**response.provenance, "action": action.type, **({"action_error": error} if error else {})}
    reason = "end" if response.stop_reason == "pass" else response.stop_reason
    return dataclasses.replace(response, content=action.words, provenance=told, stop_reason=reason)


def _after(first: LLMResponse, second: LLMResponse) -> LLMResponse:
    """The second answer, with what both took."""
    return dataclasses.replace(
        second,
        tokens_used=first.tokens_used + second.tokens_used,
        response_time=first.response_time + second.response_time,
        usage=first.usage + second.usage,
        provenance={**second.provenance, "attempts": 2},
    )


def _again(messages: Sequence[ChatMessage], answer: str, problem: str) -> list[ChatMessage]:
    return [
        *messages,
        {"role": "assistant", "content": answer},
        {"role": "user", "content": f"That was not understood: {problem}. Do one thing, in one of the forms given."},
    ]


class _Gate:
    """Lets streamed text through as soon as it can only be speech."""

    def __init__(self, on_text: Callable[[str], None], name: str) -> None:
        self._on_text = on_text
        self._forms = (*_FORMS, name.casefold())
        self._held: str | None = ""

    def feed(self, piece: str) -> None:
        """Take what the model has just written."""
        if self._held is None:
            self._on_text(piece)
            return
        self._held += piece
        begun = self._held.lstrip().casefold()
        if not any(form.startswith(begun) or begun.startswith(form) for form in self._forms):
            self._on_text(self._held)
            self._held = None
