"""One conversation in the making: whose turn it is, what was said, and when it must end. Knows nothing of many."""

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn, TypedDict

from palaver.core.errors import PalaverError
from palaver.models.model import Messages
from palaver.simulation import end_signals, user_replies
from palaver.simulation.rollout import Rollout, RolloutError, Side, TerminationReason, UserTurn
from palaver.simulation.speakers import Speaker
from palaver.simulation.views import checked

logger = logging.getLogger(__name__)

_SPEAKER_ERRORS: Final[dict[Side, TerminationReason]] = {"assistant": "agent_error", "user": "user_error"}
_STOPS: Final[dict[Side, TerminationReason]] = {"assistant": "assistant_stop", "user": "user_stop"}
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum context|prompt is too long|too many tokens|max-context-tokens",
    re.IGNORECASE,
)


class LimitOptions(TypedDict, total=False):
    """The fields of `Limits`, as keywords."""

    end_signals: Sequence[str]
    min_turns: int
    timeout: float | None
    max_errors: int
    token_budget: int
    stale_after: int


@dataclass(frozen=True, slots=True)
class Limits:
    """When a conversation ends besides its turns; 0, None and () mean never. Raises ValueError for less."""

    end_signals: Sequence[str] = end_signals.SIGNALS
    min_turns: int = 0
    """Turns before which an end signal is cut out and not obeyed."""
    timeout: float | None = None
    """Seconds for the whole conversation."""
    max_errors: int = 0
    """Failed replies that are asked for again before the conversation is given up."""
    token_budget: int = 0
    """Tokens, prompts included, after which no further reply is asked for."""
    stale_after: int = 0
    """Exchanges in a row with the very same words, 2 or more."""

    def __post_init__(self) -> None:
        if isinstance(self.end_signals, str):
            raise ValueError(f"end_signals is a list of texts: [{self.end_signals!r}]")
        for name in ("min_turns", "timeout", "max_errors", "token_budget", "stale_after"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.stale_after == 1:
            raise ValueError("stale_after must be 2 or more (or 0: never): one exchange repeats nothing")


class Ended(Exception):
    """The conversation is over; `Talk.rollout` says why."""


class Talk:
    """A conversation between two speakers, one message at a time. What it says stands in `rollout`."""

    def __init__(
        self,
        assistant: Speaker,
        user: Speaker,
        prefix: Messages,
        *,
        limits: Limits,
        seed: int | None = None,
        id: str = "",
    ) -> None:
        messages = checked(prefix)
        self._speakers: dict[Side, Speaker] = {"assistant": assistant, "user": user}
        self._limits = limits
        self.rollout = Rollout(
            messages,
            id=id or secrets.token_hex(8),
            seed=secrets.randbits(32) if seed is None else seed,
            prefix_length=len(messages),
        )
        self.turns = 0
        """Whole turns since the prefix: a user's message and its answer."""
        self._errors = 0
        self._asked = 0
        self._started = time.monotonic()
        self._cause: BaseException | None = None

    @property
    def user_waits(self) -> bool:
        """Whether the last word is a user's, so that the assistant is next."""
        said = [message["role"] for message in self.rollout if message["role"] != "system"]
        return bool(said) and said[-1] == "user"

    async def run(self, max_turns: int, *, start_with_assistant: bool | None = None) -> None:
        """Answer a user who waits, then `max_turns` turns; raises `Ended` always."""
        if self.user_waits if start_with_assistant is None else start_with_assistant:
            await self.assistant_turn()
        for _ in range(max_turns):
            await self.user_turn()
            await self.assistant_turn()
            self.turns += 1
            self._look_back()
        self.end("max_turns")

    async def user_turn(self) -> None:
        """Ask the user for the next message; raises `Ended` where it was the last."""
        said = await self._user_says()
        if not said.text and not (said.signal and self.turns >= self._limits.min_turns):
            said = replace(await self._user_says(), attempts=2)
        self.rollout.user_turns.append(said)
        if said.text:
            self.rollout.append({"role": "user", "content": said.text})
        self._obey(said.signal, "user", self.turns)
        if not said.text:
            early = f"wanted to stop before turn {self._limits.min_turns}" if said.signal else "said nothing"
            self.end("user_error", f"the user ({self._speakers['user'].name}) {early}, twice")

    async def assistant_turn(self) -> None:
        """Ask the assistant for the next message; raises `Ended` where it was the last."""
        for _ in (1, 2):
            text = await self._ask("assistant")
            found = end_signals.find(text, self._limits.end_signals)
            text, signal = (text.strip(), None) if found is None else (found.text, found.signal)
            if text or signal:
                break
        if text:
            self.rollout.append({"role": "assistant", "content": text})
        self._obey(signal, "assistant", self.turns + 1)
        if not text:
            self.end("agent_error", f"the assistant ({self._speakers['assistant'].name}) said nothing, twice")

    def say(self, side: Side, text: str) -> None:
        """Somebody else's words for one side, as a person typed them."""
        self.rollout.append({"role": side, "content": text})
        if side == "user":
            self.rollout.user_turns.append(UserTurn(text, raw=text))

    def end(self, reason: TerminationReason, error: str | None = None, cause: BaseException | None = None) -> NoReturn:
        """Note why it is over, and raise `Ended`."""
        self.close(reason, error)
        self._cause = cause
        raise Ended(reason)

    def close(self, reason: TerminationReason, error: str | None = None) -> None:
        """Note why it is over."""
        self.rollout.termination_reason = reason
        self.rollout.error = error
        self.rollout.seconds = time.monotonic() - self._started

    def failure(self) -> RolloutError:
        """The error of a rollout that failed, with what caused it."""
        error = RolloutError(self.rollout)
        error.__cause__ = self._cause
        return error

    # One reply

    async def _user_says(self) -> UserTurn:
        reply = user_replies.read(await self._ask("user"))
        found = end_signals.find(reply.text, self._limits.end_signals)
        text, signal = (reply.text, None) if found is None else (found.text, found.signal)
        return UserTurn(text, reply.thought, reply.current_answer, signal, reply.raw)

    async def _ask(self, side: Side) -> str:
        """What one side says next, as it came; asked again as often as errors are tolerated."""
        while True:
            if self._limits.token_budget and self.rollout.tokens >= self._limits.token_budget:
                self.end("budget")
            self._asked += 1
            await asyncio.sleep(0)  # speakers that never wait leave the loop to others, and to a cancel
            try:
                return await self._heard(side)
            except PalaverError as error:
                self._failed(side, error)
            except Exception as error:
                logger.exception("rollout %s: the %s broke", self.rollout.id, side)
                self._failed(side, error)

    async def _heard(self, side: Side) -> str:
        reply = await self._speakers[side].reply(
            list(self.rollout),
            seed=_derived(self.rollout.seed, self._asked),
            conversation=f"{self.rollout.id}/{side}",
        )
        self.rollout.add_usage(side, reply.usage)
        if reply.provenance:
            self.rollout.made_by[side] = _lasting(reply.provenance)
        trimmed = reply.provenance.get("trimmed_messages")
        self.rollout.trimmed_messages = max(self.rollout.trimmed_messages, trimmed or 0)
        return reply.content

    def _failed(self, side: Side, error: Exception) -> None:
        self._errors += 1
        text = f"{self._speakers[side].name}: {error or type(error).__name__}"
        if _TOO_LONG.search(text):
            self.end("context_window_exceeded", text, error)
        if self._errors > self._limits.max_errors:
            reason = "too_many_errors" if self._limits.max_errors else _SPEAKER_ERRORS[side]
            self.end(reason, text, error)
        logger.warning("rollout %s: asking again after %s", self.rollout.id, text)

    # Ends

    def _obey(self, signal: str | None, side: Side, turns: int) -> None:
        if signal is not None and turns >= self._limits.min_turns:
            self.end(_STOPS[side])

    def _look_back(self) -> None:
        """End a conversation that has come to say the same again and again."""
        same = self._limits.stale_after
        if same < 2 or self.turns < same:
            return
        said = [message["content"] for message in self.rollout[-2 * same :]]
        if len(set(said[::2])) == len(set(said[1::2])) == 1:
            self.end("stale")


def _derived(seed: int, number: int) -> int:
    """The seed of a rollout's `number`th request, apart from every other one's."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


_OF_ONE_REPLY = frozenset({"seed", "prompt_hash", "trimmed_messages", "truncated_tokens", "batch", "stopped_by"})


def _lasting(provenance: Any) -> dict[str, Any]:
    """What a reply tells of its model rather than of itself."""
    return {name: value for name, value in provenance.items() if name not in _OF_ONE_REPLY}
