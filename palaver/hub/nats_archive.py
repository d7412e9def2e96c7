"""A hub's own archive beside a log that several share, and the snapshots that hubs share.

What was published is made from the log, so each hub keeps it for itself, in SQLite. A hub that begins with another's
snapshot lacks what was published before it: it runs through the log from where its own archive ends, beside its work,
and only whoever asks for old messages waits.
"""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from palaver.core.errors import LogUnavailable
from palaver.core.message import Message
from palaver.core.state import RoomState, decode_state, encode_state
from palaver.hub.log import Read
from palaver.hub.nats_broker import Broker
from palaver.hub.nats_follower import Followers
from palaver.hub.nats_streams import Names
from palaver.hub.replaying import replay
from palaver.hub.sqlite_log import SqliteLog

if TYPE_CHECKING:
    from nats.aio.msg import Msg

logger = logging.getLogger(__name__)

PART: Final = 512 * 1024
"""Bytes of a snapshot that travel as one message."""
HEADER: Final = "Palaver-Snapshot"
"""POSITION.PART.PARTS of a message that holds (a part of) a snapshot."""


class _Where(msgspec.Struct):
    applied: int = 0


_where = msgspec.json.Decoder(_Where)


class NatsArchive:
    """`folder` is where the file lies, `None` for one in memory."""

    def __init__(self, broker: Broker, followers: Followers, names: Names, read: Read, folder: Path | None) -> None:
        self._broker = broker
        self._followers = followers
        self._names = names
        self._read = read
        self._local = SqliteLog(folder, copied=True)
        self._filling: dict[str, asyncio.Task[None]] = {}
        self._held_back: dict[str, list[tuple[int, bytes]]] = {}

    async def open(self) -> None:
        """Open the file; raises `LogUnavailable`."""
        await self._local.open()

    async def close(self) -> None:
        """Write what is left."""
        for task in self._filling.values():
            task.cancel()
        await asyncio.gather(*self._filling.values(), return_exceptions=True)
        await self._local.close()

    # --- messages ----------------------------------------------------------------------------------------------------

    def record(self, room: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Keep published messages, in order: what comes while the past is being filled in waits for it."""
        if room in self._filling:
            self._held_back.setdefault(room, []).extend(messages)
        else:
            self._local.record(room, messages)

    async def kept(self, room: str, after: int) -> int:
        """Up to which `seq` every message above `after` is there; waits for none to be filled in."""
        return await self._local.kept(room, after)

    async def messages(self, room: str, after: int, limit: int) -> list[Message]:
        """Messages above `after`, once the archive has all of them."""
        while (task := self._filling.get(room)) is not None:
            await asyncio.shield(task)
        return await self._local.messages(room, after, limit)

    # --- snapshots ---------------------------------------------------------------------------------------------------

    async def latest(self, room: str) -> bytes | None:
        """The latest snapshot. Where it is another hub's, what the archive lacks before it begins to be filled in."""
        own = await self._local.snapshot(room)
        there = await self._shared(room)
        if there is None or (own is not None and _where.decode(own).applied >= there[0]):
            return own
        if room not in self._filling:
            task = asyncio.get_running_loop().create_task(self._fill(_state_of(room, own), there[0]))
            self._filling[room] = task
        return there[1]

    def keep(self, room: str, position: int, state: bytes) -> None:
        """Save a state for this hub: its archive is complete up to there."""
        if room not in self._filling:
            self._local.save_snapshot(room, position, state)

    async def share(self, room: str, position: int, state: bytes) -> None:
        """Save a state for all hubs, unless there is a later one; it may be several messages."""
        subject = self._names.snapshot(room)
        try:
            if await self._position_there(subject) >= position:
                return
            packed = await asyncio.to_thread(zlib.compress, state, 1)
            parts = [packed[start : start + PART] for start in range(0, len(packed), PART)]
            first = 0
            for number, part in enumerate(parts):
                headers = {HEADER: f"{position}.{number}.{len(parts)}"}
                confirmed = await self._broker.ask(self._broker.jetstream.publish(subject, part, headers=headers))
                first = first or confirmed.seq
            purge = self._broker.jetstream.purge_stream(self._names.snapshots, seq=first, subject=subject)
            await self._broker.ask(purge)
        except LogUnavailable as error:
            logger.warning("room %s: its snapshot was not saved for the other hubs: %s", room, error)

    async def _position_there(self, subject: str) -> int:
        from nats.js.errors import NotFoundError

        async def last() -> int:
            with contextlib.suppress(NotFoundError):
                found = await self._broker.jetstream.get_last_msg(self._names.snapshots, subject)
                return _place(found.headers)[0]
            return -1

        return await self._broker.ask(last())

    async def _shared(self, room: str) -> tuple[int, bytes] | None:
        """The latest snapshot that is complete, with its position."""
        parts: dict[tuple[int, int], dict[int, bytes]] = {}

        def take(number: int, message: "Msg") -> bool:
            position, part, count = _place(message.headers)
            parts.setdefault((position, count), {})[part] = message.data
            return True

        await self._followers.gather(self._names.snapshots, self._names.snapshot(room), 1, take)
        for (position, count), found in sorted(parts.items(), reverse=True):
            if len(found) == count:
                packed = b"".join(found[part] for part in range(count))
                try:
                    return position, await asyncio.to_thread(zlib.decompress, packed)
                except zlib.error as error:
                    logger.warning("room %s: a snapshot cannot be unpacked: %s", room, error)
        return None

    # --- the past ----------------------------------------------------------------------------------------------------

    async def _fill(self, state: RoomState, until: int) -> None:
        """Run through the log from `state` to `until` and keep what was published."""
        room, begun = state.name, state.seq
        while state.applied < until:
            try:
                async for _, published in replay(self._read, state, until=until):
                    self._local.record(room, published)
                break
            except LogUnavailable as error:
                logger.warning("room %s: filling in the archive waits: %s", room, error)
                await asyncio.sleep(1.0)
        logger.info("room %s: messages %d to %d were filled in from the log", room, begun + 1, state.seq)
        self._local.save_snapshot(room, state.applied, encode_state(state))
        del self._filling[room]
        if held := self._held_back.pop(room, None):
            self._local.record(room, held)


def _state_of(room: str, saved: bytes | None) -> RoomState:
    with contextlib.suppress(ValueError):  # of another version: the log tells it all again
        if saved is not None:
            return decode_state(saved)
    return RoomState(name=room)


def _place(headers: dict[str, str] | None) -> tuple[int, int, int]:
    position, part, count = (headers or {}).get(HEADER, "-1.0.0").split(".")
    return int(position), int(part), int(count)
