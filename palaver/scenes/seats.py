"""The seats of a scene's models: each a participant on a connection of its own, taken and left together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from palaver.core.errors import AccessDenied, ConfigError, PalaverError
from palaver.core.message import same_name
from palaver.core.protocol import Ack, Event, Join
from palaver.models.model import LLMResponse, Model
from palaver.participants.link import Answer, Link, Received
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from palaver.scenes.acting import ActingModel
from palaver.scenes.personas import persona
from palaver.scenes.scene import Agent, Scene

logger = logging.getLogger(__name__)


class SceneAgent(Participant):
    """An agent's seat: it leaves the room when it chose to, or when the conversation has ended."""

    def observed(self, received: Received) -> None:
        """Go when it is over."""
        if isinstance(received, Event) and received.kind == "ended":
            self.finish("the conversation has ended")

    def stilled(self, why: str) -> None:
        """Its director pauses the room between turns."""

    def took_turn(self, response: LLMResponse, answer: Answer | None) -> None:
        """Go when that was its last action."""
        if response.provenance.get("action") == "leave" and isinstance(answer, Ack):
            self.finish("left the conversation")


class Seats:
    """`async with Seats(…) as seats`: `await seats.take(…)` seats the models; all are emptied at the end.

    `failed` is called with what made a seat end that should not, `sent_away` with the name of one that was kicked,
    and `said` with a name tells how many messages it has said already.
    """

    def __init__(
        self,
        scene: Scene,
        models: Mapping[str, Model],
        *,
        url: str,
        room: str,
        token: str | None,
        failed: Callable[[PalaverError], None],
        sent_away: Callable[[str], None],
        said: Callable[[str], int],
    ) -> None:
        self._scene = scene
        self._models = models
        self._url = url
        self._room = room
        self._token = token
        self._failed = failed
        self._sent_away = sent_away
        self._said = said
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def take(self, arrived: Callable[[str], Awaitable[None]]) -> None:
        """Seat each model in the order of the scene; `arrived(name)` waits until the room knows it is there."""
        for agent in self._scene.agents:
            if agent.model is not None:
                self._tasks.append(asyncio.create_task(self._sit(agent, agent.model), name=f"seat of {agent.name}"))
                await arrived(agent.name)

    async def _sit(self, agent: Agent, model_id: str) -> None:
        try:
            if model_id not in self._models:
                known = ", ".join(self._models) or "none"
                raise ConfigError(f"model {model_id!r} of {agent.name} is unknown; known: {known}")
            await self._act(agent, self._models[model_id])
        except PalaverError as error:
            self._failed(error)
        except Exception as error:  # nobody else waits for this task while the conversation runs
            self._failed(PalaverError(f"{agent.name}: {type(error).__name__}: {error}"))

    async def _act(self, agent: Agent, model: Model) -> None:
        settings = self._settings(agent)
        join = Join(
            name=agent.name,
            role="model",
            room=self._room,
            token=self._token,
            after=0,
            about=model.name[:200],
            settings={**settings.told(), "model": model.name},
        )
        async with Link(self._url, join) as link:
            acting = ActingModel(model, agent.name, self._scene.actions)
            seat = SceneAgent(link, settings, acting)
            seat.replies = self._said(agent.name)
            try:
                await seat.run()
            except AccessDenied as error:
                if seat.room.floor is None:  # it was never let in
                    raise
                logger.warning("%s is out: %s", agent.name, error)
                self._sent_away(agent.name)

    def _settings(self, agent: Agent) -> Settings:
        place = [same_name(one.name, agent.name) for one in self._scene.agents].index(True)
        return Settings(
            persona=persona(self._scene, agent.name),
            temperature=agent.temperature,
            max_tokens=agent.max_tokens,
            history=0,
            seed=None if self._scene.seed is None else self._scene.seed + 10_000 * place,
        )
