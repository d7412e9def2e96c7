"""Clients that talk through faulty proxies, and note what they were told and what they saw."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from palaver.core.message import Message, Role
from palaver.core.protocol import Ack, Grant, Join
from palaver.participants.link import Link
from tests.chaos.proxy import FaultyProxy

ROLES: Final[dict[str, Role]] = {
    "Ann": "moderator",
    "Bob": "moderator",
    "Cleo": "moderator",
    "Dot": "model",
    "Eli": "model",
}
"""Five clients: three who may always speak, two who need the floor."""


class Client:
    """One member behind its own proxies, one for each hub: says things, and keeps what it is told."""

    def __init__(self, name: str, proxies: Sequence[FaultyProxy], dice: random.Random) -> None:
        self.name, self.role = name, ROLES.get(name, "moderator")
        self.proxies = proxies
        self.acknowledged: dict[str, int] = {}
        """What the hub has acknowledged, and the `seq` it gave."""
        self.refused: list[str] = []
        self.seen: list[Message] = []
        self._dice = dice
        self._changed = asyncio.Condition()
        self._turns: set[asyncio.Task[None]] = set()
        join = Join(name=name, role=self.role, after=0, session=f"secret of {name}")
        self.link = Link(",".join(proxy.url for proxy in proxies), join, wait=lambda attempt: dice.random() * 0.05)

    async def listen(self) -> None:
        """Take frames until the link is closed; a model answers each grant."""
        async with self.link:
            async for frame in self.link:
                match frame:
                    case Message():
                        self.seen.append(frame)
                        async with self._changed:
                            self._changed.notify_all()
                    case Grant():
                        task = asyncio.create_task(self.say(f"{self.name} under turn {frame.turn}", frame.turn))
                        self._turns.add(task)
                        task.add_done_callback(self._turns.discard)

    async def talk(self, count: int) -> None:
        """Say so many things, some at once and some after another; a refusal for want of a log is tried again."""
        under_way: list[asyncio.Task[None]] = []
        for number in range(count):
            under_way.append(asyncio.create_task(self.say(f"{self.name} {number}")))
            if len(under_way) >= self._dice.randrange(1, 6):
                await asyncio.gather(*under_way)
                under_way.clear()
            await asyncio.sleep(self._dice.random() * 0.04)
        await asyncio.gather(*under_way)

    async def say(self, text: str, turn: int | None = None) -> None:
        """Say it until it is acknowledged; an agent whose turn is over says it no more."""
        while True:
            answer = await self.link.say(text, turn=turn)
            if isinstance(answer, Ack):
                assert answer.seq, f"{text!r} was acknowledged without a place"
                self.acknowledged[text] = answer.seq
                return
            self.refused.append(answer.code)
            if answer.code != "unavailable":
                return
            await asyncio.sleep(0.05)

    async def until(self, seq: int) -> None:
        """Wait for the message with this number."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self.seen) and self.seen[-1].seq >= seq)

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._turns):
            task.cancel()
        await asyncio.gather(*self._turns, return_exceptions=True)
        await self.link.close()
