"""What a conversation is asked to be, as plain values, and who carries one out. Knows no HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from palaver.models.model import Model
from palaver.scenes.episode import EpisodeLog
from palaver.scenes.progress import Progress
from palaver.scenes.scene import Scene

Status = Literal["running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A conversation to be held in the room of the same name."""

    id: str
    scene: Scene
    """Each agent's `model` is an id of the server's models."""
    judged: bool = True
    """Whether evaluators that need a model are called at the end."""
    so_far: Progress | None = None
    """Where it goes on, if it was begun before."""


class Runner(Protocol):
    """Carries a conversation out in a room of the hub at `url`: seats the agents, watches, ends it, has it judged."""

    async def __call__(
        self,
        plan: Plan,
        models: Mapping[str, Model],
        *,
        url: str,
        token: str | None,
        keep: Callable[[Progress], Awaitable[None]],
    ) -> EpisodeLog:
        """`models` holds the server's models by id, each that the plan names among them.

        `keep` is awaited with how far it has come. Cancelling it empties its seats at once.
        """
        ...
