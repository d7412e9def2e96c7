"""A simulated user as a `Model`, so that it can sit in a room: roles swapped, end signals cut out and told."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from palaver.core.errors import PalaverError
from palaver.models.model import Cancel, ChatMessage, LLMResponse
from palaver.models.stopping import unless_pressed
from palaver.participants.prompting import OPENING
from palaver.participants.provenance import AUTHORED
from palaver.simulation import end_signals, user_replies
from palaver.simulation.rollout import UserTurn
from palaver.simulation.speakers import Speaker, as_speaker
from palaver.simulation.user_models import SimulatedUser, UserModel

logger = logging.getLogger(__name__)

_SWAPPED = {"assistant": "user", "user": "assistant"}


class UserInRoom:
    """What the participant's seat takes for a model. Replies come whole: a signal or a thought is never streamed.

    `first_message` is said in the first turn as it stands. An end signal is told in the provenance (`end_signal`).
    """

    def __init__(
        self, user: UserModel, *, signals: Sequence[str] = end_signals.SIGNALS, first_message: str = ""
    ) -> None:
        self._user = user
        self._speaker: Speaker = as_speaker(user, SimulatedUser)
        self._signals = signals
        self._first_message = first_message
        self.name = self._speaker.name
        self.turns: list[UserTurn] = []
        """What it has said."""
        self.error: str | None = None
        """Why it could not answer, where its last reply failed."""

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
        """The user's next message. `stop` is left to the caller, who cuts others' words off anyway."""
        if self._first_message:
            first, self._first_message = self._first_message, ""
            return self._answered(LLMResponse(first, 0, 0.0, self.name, True, provenance={"backend": AUTHORED}))
        said = self._seen_by_assistant(messages)
        if isinstance(self._user, SimulatedUser):
            self._user.speaker.temperature, self._user.speaker.max_tokens = temperature, max_tokens
        try:
            response = await unless_pressed(cancel, self._speaker.reply(said, seed=seed, conversation=cache_key))
        except PalaverError as error:
            self.error = str(error)
            return LLMResponse("", 0, 0.0, self.name, False, self.error, "error")
        if response is None:
            return LLMResponse("", 0, 0.0, self.name, True, stop_reason="cancelled")
        return self._answered(response)

    async def close(self) -> None:
        """Let go of the model behind it."""
        if isinstance(self._user, SimulatedUser):
            await self._user.speaker.model.close()

    def _seen_by_assistant(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """The conversation as user models expect it: the roles swapped back, the system prompt taken as its own."""
        said: list[ChatMessage] = []
        for message in messages:
            if message["role"] == "system":
                self._user.system_prompt = message["content"]
            elif message["content"] != OPENING:
                said.append({"role": _SWAPPED[message["role"]], "content": message["content"]})
        return said

    def _answered(self, response: LLMResponse) -> LLMResponse:
        reply = user_replies.read(response.content)
        found = end_signals.find(reply.text, self._signals)
        told: dict[str, Any] = dict(response.provenance)
        if found is not None:
            told["end_signal"] = found.signal
            logger.info("%s ended the conversation with %s", self.name, found.signal)
        text, signal = (reply.text, None) if found is None else (found.text, found.signal)
        self.turns.append(UserTurn(text, reply.thought, reply.current_answer, signal, reply.raw))
        self.error = None
        response.content = text
        response.provenance = told
        return response
