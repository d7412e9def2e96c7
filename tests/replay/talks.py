"""Conversations over a real hub, to be replayed: scripted models, a moderator who steers, all in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from palaver.core.errors import PalaverError
from palaver.core.message import Message, Role
from palaver.core.protocol import Ack, Event, HubFrame, Join, Nack, Presence, Welcome
from palaver.core.state import RoomState
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link, LinkDown
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from tests.hubs import running

WAIT = 20.0


class Moderator:
    """Steers, and waits for what it sees."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._changed = asyncio.Event()
        self.seen: list[HubFrame] = []

    async def listen(self) -> None:
        async for frame in self._link:
            if not isinstance(frame, LinkDown):
                self.seen.append(frame)
                self._changed.set()

    def messages(self) -> list[Message]:
        return [frame for frame in self.seen if isinstance(frame, Message)]

    def count(self, kind: str) -> int:
        """How many events of a kind were told."""
        return sum(isinstance(frame, Event) and frame.kind == kind for frame in self.seen)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, count: int) -> None:
        """Wait until so many messages were said."""
        await self.until(lambda: len(self.messages()) >= count)

    async def sees(self, *names: str) -> None:
        """Wait until these are in the room."""
        await self.until(lambda: set(names) <= self._present())

    def _present(self) -> set[str]:
        here: set[str] = set()
        for frame in self.seen:
            if isinstance(frame, Welcome):
                here |= {seat.name for seat in frame.roster}
            elif isinstance(frame, Presence):
                here = here - {frame.name} if frame.state == "left" else here | {frame.name}
        return here

    async def says(self, text: str) -> None:
        assert isinstance(await self._link.say(text), Ack)

    async def commands(self, text: str) -> None:
        answer = await self._link.command(text)
        assert not isinstance(answer, Nack), answer


class Talk:
    """A hub with a data directory, and whoever sits in its room."""

    def __init__(self, url: str, moderator: Moderator, room: str) -> None:
        self.url = url
        self.room = room
        self.moderator = moderator
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def seat(
        self,
        name: str,
        lines: Sequence[str],
        *,
        private: bool = False,
        role: Role = "model",
        session: str | None = None,
        **settings: Any,
    ) -> None:
        """Seat a model and wait until it is there."""
        speaks = ScriptedModel(lines, cycle=True, delay=0.01, name=f"m-{name}")
        told = Settings(**{"persona": f"You are {name}.", **settings})
        join = Join(
            name=name,
            role=role,
            room=self.room,
            deltas=False,
            session=session,
            settings=None if private else told.told(),
        )
        self._tasks[name] = asyncio.create_task(self._sit(join, told, speaks))
        await self.moderator.sees(name)

    async def _sit(self, join: Join, settings: Settings, model: ScriptedModel) -> None:
        async with Link(self.url, join) as link:
            with contextlib.suppress(PalaverError):
                await Participant(link, settings, model).run()

    async def unseat(self, name: str) -> None:
        """Let one leave."""
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.moderator.until(lambda: name not in self.moderator._present())

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@asynccontextmanager
async def talking(
    folder: Path, *, policy: str = "round_robin", room: str = "main", **options: Any
) -> AsyncIterator[Talk]:
    """A room with a moderator in it; its log lies in `folder` when the block ends."""

    def defaults(state: RoomState) -> None:
        state.floor.policy = policy

    async with (
        running(folder, defaults=defaults, **options) as hub,
        Link(hub.url, Join(name="Mod", role="moderator", room=room, deltas=False)) as link,
    ):
        moderator = Moderator(link)
        listening = asyncio.create_task(moderator.listen())
        talk = Talk(hub.url, moderator, room)
        try:
            await moderator.sees("Mod")
            yield talk
            await moderator.commands("/pause")
        finally:
            await talk.close()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
