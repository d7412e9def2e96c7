"""The simulator: an assistant and a simulated user talk, one conversation or many. Seed 0."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, Unpack

from palaver.models import blocking
from palaver.models.model import Cancel, Messages
from palaver.models.stopping import unless_pressed
from palaver.simulation import interactive, many
from palaver.simulation.assistant import ModelAssistant
from palaver.simulation.rollout import Rollout
from palaver.simulation.speakers import as_speaker
from palaver.simulation.talk import Ended, LimitOptions, Limits, Talk
from palaver.simulation.user_models import SimulatedUser

MAX_TURNS: Final = 3


class ChatSimulator:
    """Lets `assistant` and `user_model` talk.

    Either is a `Model`, a `LocalAssistant` or `UserModel`, or any object with `generate(messages) -> str`. One
    simulator may run any number of conversations at a time. Further keywords say when conversations end: `Limits`.
    """

    def __init__(self, assistant: Any, user_model: Any, **limits: Unpack[LimitOptions]) -> None:
        self.assistant = as_speaker(assistant, ModelAssistant)
        self.user = as_speaker(user_model, SimulatedUser)
        self.limits = Limits(**limits)

    def __repr__(self) -> str:
        return f"ChatSimulator({self.assistant.name!r}, {self.user.name!r}, {self.limits})"

    def rollout(
        self,
        conversation_prefix: Messages = (),
        max_turns: int = MAX_TURNS,
        *,
        seed: int | None = None,
        start_with_assistant: bool | None = None,
    ) -> Rollout:
        """Continue `conversation_prefix` by `max_turns` turns and wait for it; see `rollout_async`."""
        return blocking.run(
            self.rollout_async(conversation_prefix, max_turns, seed=seed, start_with_assistant=start_with_assistant)
        )

    async def rollout_async(
        self,
        conversation_prefix: Messages = (),
        max_turns: int = MAX_TURNS,
        *,
        seed: int | None = None,
        start_with_assistant: bool | None = None,
        cancel: Cancel | None = None,
        id: str = "",
    ) -> Rollout:
        """Continue `conversation_prefix` by `max_turns` turns (a user's message and its answer each).

        A prefix that ends with a user's message has that one answered first, and this is not counted. The prefix
        stays as it is and stands first in the result. Pressing `cancel` ends it as `moderator_stop`. Raises
        ValueError for negative turns or a wrong prefix, `RolloutError` (which holds the conversation so far) where a
        speaker fails.
        """
        talk = await self.talk(
            conversation_prefix, max_turns, seed=seed, start_with_assistant=start_with_assistant, cancel=cancel, id=id
        )
        if talk.rollout.failed:
            raise talk.failure()
        return talk.rollout

    async def talk(
        self,
        prefix: Messages,
        max_turns: int,
        *,
        seed: int | None = None,
        start_with_assistant: bool | None = None,
        cancel: Cancel | None = None,
        id: str = "",
    ) -> Talk:
        """As `rollout_async`, but a failure is left in the rollout as `error`."""
        if max_turns < 0:
            raise ValueError(f"max_turns must be 0 or more, not {max_turns}")
        talk = self.begin(prefix, seed=seed, id=id)
        try:
            async with asyncio.timeout(self.limits.timeout or None):
                await unless_pressed(cancel, talk.run(max_turns, start_with_assistant=start_with_assistant))
                talk.close("moderator_stop", cancel.reason or None if cancel else None)
        except Ended:
            pass
        except TimeoutError:
            talk.close("timeout")
        return talk

    def begin(self, prefix: Messages, *, seed: int | None = None, id: str = "") -> Talk:
        """A conversation to be driven message by message."""
        return Talk(self.assistant, self.user, prefix, limits=self.limits, seed=seed, id=id)

    async def rollouts(
        self, prefixes: Iterable[Messages], n: int = 1, max_turns: int = MAX_TURNS, **options: Unpack[many.Options]
    ) -> list[Rollout]:
        """`n` rollouts of each prefix, `concurrency` (64) at a time; see `palaver.simulation.many.run`."""
        return await many.run(self, prefixes, n, max_turns, **options)

    def rollouts_sync(
        self, prefixes: Iterable[Messages], n: int = 1, max_turns: int = MAX_TURNS, **options: Unpack[many.Options]
    ) -> list[Rollout]:
        """As `rollouts`, and wait for it."""
        return blocking.run(self.rollouts(prefixes, n, max_turns, **options))

    def interactive_rollout(
        self,
        conversation_prefix: Messages = (),
        max_turns: int = 10,
        *,
        seed: int | None = None,
        ask: Callable[[str], str] = input,
        tell: Callable[[str], None] = print,
    ) -> Rollout:
        """A person at the terminal sits in either chair: Enter generates, text is said instead, `/quit` ends it."""
        if max_turns < 0:
            raise ValueError(f"max_turns must be 0 or more, not {max_turns}")
        return interactive.run(self.begin(conversation_prefix, seed=seed), max_turns, ask=ask, tell=tell)
