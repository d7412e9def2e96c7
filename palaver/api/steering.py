"""The API's own seat in a room: it sits down as a moderator when the first command comes."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping
from typing import Final

from palaver.api.errors import BadRequest, Conflict, Refusal, Stopping
from palaver.core.errors import PalaverError
from palaver.core.protocol import Ack, Join, Nack
from palaver.participants.link import Link

logger = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds that a command may take."""
_REFUSALS: Final[Mapping[str, type[Refusal]]] = {
    "bad_command": BadRequest,
    "empty": BadRequest,
    "unavailable": Stopping,
}


class Seat:
    """A moderator in one room that says nothing and gives commands."""

    def __init__(self, url: str, room: str, token: str | None) -> None:
        name = f"api-{secrets.token_hex(3)}"
        self._link = Link(url, Join(name=name, role="moderator", room=room, token=token, deltas=False))
        self._reading: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def command(self, text: str) -> Ack:
        """Give a command; raises `BadRequest` where it is none, `Conflict` where it cannot be carried out."""
        try:
            async with asyncio.timeout(PATIENCE), self._one_at_a_time:
                if self._reading is None:
                    await self._link.__aenter__()
                    self._reading = asyncio.create_task(self._read())
                answer = await self._link.command(text)
        except TimeoutError:
            raise Stopping(f"the hub did not answer within {PATIENCE:.0f} s") from None
        except PalaverError as error:
            raise Conflict(str(error)) from error
        if isinstance(answer, Nack):
            raise _REFUSALS.get(answer.code, Conflict)(answer.reason)
        return answer

    async def _read(self) -> None:
        with contextlib.suppress(PalaverError):
            async for _ in self._link:
                pass

    async def close(self) -> None:
        """Leave the room."""
        if self._reading is not None:
            await self._link.close("done")
            await asyncio.wait([self._reading])
