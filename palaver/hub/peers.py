"""The other hubs of a log, as they are heard: each says once a second that it is there."""

import asyncio
from typing import TYPE_CHECKING, Final

from palaver.core.errors import LogUnavailable
from palaver.hub.nats_broker import Broker

if TYPE_CHECKING:
    from nats.aio.msg import Msg

BEAT: Final = 1.0
"""Seconds between two signs of life."""
LEASE: Final = 5.0
"""Seconds without one after which a hub is lost."""


class Peers:
    """Who is there. `subject` is where hubs say so; below it, each answers under its own name."""

    def __init__(self, broker: Broker, subject: str, hub: str, lease: float = LEASE) -> None:
        self._broker = broker
        self._subject = subject
        self._hub = hub
        self._interval = min(BEAT, lease / 4)
        self._most = lease / self._interval
        self._beats = 0
        """Our own signs of life. Silence of others is counted in them, not in seconds: a hub that was itself stopped
        blames nobody."""
        self._heard: dict[str, int] = {}
        self._since = 0
        self._beating: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """A new connection. What was missed while there was none says nothing about anybody.

        Raises `LogUnavailable` where another hub bears our name by now.
        """
        await self._take_name()
        self._since = self._beats
        await self._broker.subscribe(self._subject, self._hear)
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    def close(self) -> None:
        """The connection has ended."""
        if self._beating is not None:
            self._beating.cancel()

    async def _take_name(self) -> None:
        from nats.errors import NoRespondersError

        own = f"{self._subject}.{self._hub}"
        try:
            await self._broker.client.request(own, timeout=1.0)
        except (NoRespondersError, TimeoutError):
            await self._broker.subscribe(own, self._answer)
            return
        raise LogUnavailable(f"another hub of this log is called {self._hub!r}; choose another --hub-name")

    def are_there(self) -> bool:
        """Whether any other hub is."""
        return any(map(self.is_alive, self._heard))

    def is_alive(self, hub: str) -> bool:
        """Whether this hub was heard of within its lease, as far as we could hear."""
        silent = self._beats - max(self._heard.get(hub, 0), self._since)
        return not self._broker.is_up or silent <= self._most

    async def _beat(self) -> None:
        while True:
            await self._broker.publish(self._subject, self._hub.encode())
            await asyncio.sleep(self._interval)
            self._beats += 1

    async def _hear(self, message: "Msg") -> None:
        hub = message.data.decode(errors="replace")
        if hub != self._hub:
            self._heard[hub] = self._beats

    async def _answer(self, message: "Msg") -> None:
        await message.respond(self._hub.encode())
