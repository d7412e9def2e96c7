"""An archive that wakes those who watch a room, so that they read on at their own pace. Knows neither HTTP nor hub."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from palaver.core.message import Message
from palaver.hub.log import Archive

REWRITES: Final = 1000
"""Changed messages that a watcher is told of; one that is further behind is told to read again from the start."""


class Watch:
    """One who watches a room: `fresh` is set when there is something new."""

    def __init__(self) -> None:
        self.fresh = asyncio.Event()
        self.last = 0
        """Highest `seq` that was ever published while it watched."""
        self.rewritten: list[bytes] = []
        """Messages that were published before and have changed: redacted ones, as JSON."""

    def take_rewritten(self) -> list[bytes]:
        """What has changed since the last call."""
        changed, self.rewritten = self.rewritten, []
        return changed


class WatchedArchive:
    """Another archive, and those who watch what it records."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._watches: dict[str, set[Watch]] = {}

    def record(self, room: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Keep messages, and wake who watches the room."""
        self._archive.record(room, messages)
        for watch in self._watches.get(room, ()):
            for seq, body in messages:
                if seq <= watch.last and len(watch.rewritten) < REWRITES:
                    watch.rewritten.append(body)
                watch.last = max(watch.last, seq)
            watch.fresh.set()

    async def kept(self, room: str, after: int) -> int:
        """Up to which `seq` every message above `after` is there."""
        return await self._archive.kept(room, after)

    async def messages(self, room: str, after: int, limit: int) -> list[Message]:
        """Messages above `after`, in order, at most about `limit`."""
        return await self._archive.messages(room, after, limit)

    def wake(self, room: str) -> None:
        """Something else than a message is new: the conversation has ended."""
        for watch in self._watches.get(room, ()):
            watch.fresh.set()

    def wake_all(self) -> None:
        """The server stops: whoever watches is to look up."""
        for room in self._watches:
            self.wake(room)

    @contextlib.contextmanager
    def watching(self, room: str, last: int) -> Iterator[Watch]:
        """Watch a room whose last message is `last` until the block is left."""
        watch = Watch()
        watch.last = last
        watches = self._watches.setdefault(room, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                self._watches.pop(room, None)
