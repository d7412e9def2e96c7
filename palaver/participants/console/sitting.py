"""Sitting down in a room and in the next: one link and one seat for each, until the moderator leaves."""

import asyncio
import ssl
import time
from typing import Final

import msgspec

from palaver.core.protocol import Join
from palaver.participants.console.front import Front
from palaver.participants.console.hiding import Hiding
from palaver.participants.console.local import rooms_of
from palaver.participants.console.seat import Seat
from palaver.participants.console.view import RoomView
from palaver.participants.link import Link, full_jitter

_GOODBYE: Final = "left the console"
_LONGEST_WAIT: Final = 2.0
"""Seconds between two attempts to reach the hub, at most: somebody sits there and waits."""


async def moderate(
    front: Front,
    *,
    server: str,
    join: Join,
    proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
    hiding: Hiding,
) -> None:
    """Moderate until the person leaves or the room ends; raises what the hub sends this member away with."""
    async with front:
        room: str | None = join.room
        while room is not None:
            room = await _in_room(front, server, msgspec.structs.replace(join, room=room), (proxy, tls), hiding)


async def _in_room(
    front: Front, server: str, join: Join, way: tuple[str | None, ssl.SSLContext | None], hiding: Hiding
) -> str | None:
    proxy, tls = way
    async with Link(server, join, proxy=proxy, tls=tls, wait=_wait) as link:
        seat = Seat(
            view=RoomView(room=join.room, me=join.name, down_since=time.monotonic()),
            hub=link,
            screen=front,
            clock=time.monotonic,
            hiding=hiding,
            fetch_rooms=rooms_of(server, proxy, join.token, tls),
        )
        tasks = [asyncio.create_task(_listen(link, seat, front)), asyncio.create_task(front.attend(seat))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            seat.take_leave()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await link.close(_GOODBYE)
    return seat.next_room


def _wait(attempt: int) -> float:
    return min(_LONGEST_WAIT, full_jitter(attempt))


async def _listen(link: Link, seat: Seat, front: Front) -> None:
    async for received in link:
        seat.hear(received)
        await front.drained()
