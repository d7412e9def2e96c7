"""What the log refused and nobody would send again: the hub does, until the log takes it."""

import asyncio
from typing import Final

from palaver.core.entry import Entry, HubBack, HubStarted, Left
from palaver.core.protocol import Cancelled, Pass, Status
from palaver.hub.log import Log

KINDS: Final = (Left, HubStarted, HubBack, Pass, Cancelled, Status)
MOST: Final = 1000
"""Frames of a room that may wait so, beside those of members who have left."""
WAIT: Final = 1.0
"""Seconds between two attempts."""


class SentAgain:
    """Entries of one room that wait for the log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def put(self, entry: Entry) -> None:
        """Hand it over again in a while."""
        if len(self._timers) < MOST or isinstance(entry.frame, Left):
            self._timers[entry.id] = asyncio.get_running_loop().call_later(WAIT, self._append, entry)

    def _append(self, entry: Entry) -> None:
        del self._timers[entry.id]
        self._log.append(entry)

    def close(self) -> None:
        """Stop."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
