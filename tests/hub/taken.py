"""Entries for a log, and a listener that keeps what comes back."""

import asyncio
from collections.abc import Callable, Sequence

from palaver.core.entry import Entry
from palaver.core.protocol import Say, Streamed


def entry(number: int, room: str = "main", text: str = "words") -> Entry:
    """Something said; its number is its id."""
    return Entry(
        id=str(number), room=room, session="s", name="Ann", role="moderator", time=1.0, frame=Say(content=text)
    )


class Taken:
    """What came back from a log."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.turned_away: list[int] = []
        self.reasons: list[str] = []
        self.texts: list[str] = []
        self._changed = asyncio.Event()

    def take(self, entries: Sequence[tuple[int, Entry]]) -> None:
        self.positions += [position for position, _ in entries]
        self.ids += [int(one.id) for _, one in entries]
        self._changed.set()

    def refused(self, entries: Sequence[Entry], reason: str) -> None:
        self.turned_away += [int(one.id) for one in entries]
        self.reasons += [reason] * len(entries)
        self._changed.set()

    def heard(self, frame: Streamed) -> None:
        self.texts.append(frame.text)
        self._changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that what comes back makes true."""
        async with asyncio.timeout(20):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def until_answered(self, count: int) -> None:
        """Wait until so many have come back, one way or the other."""
        await self.until(lambda: len(self.ids) + len(self.turned_away) >= count)
