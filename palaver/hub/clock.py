"""The time of a hub: it goes on as real time does, whatever is done to the clock on the wall."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from palaver.core.entry import LAST_SECOND

SLEW: Final = 0.05
"""So much faster or slower than real time it goes until it agrees with the wall again (an hour takes 20)."""
_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts also while the machine sleeps."""


def steady() -> float:
    """Seconds that nobody can set."""
    return time.clock_gettime(_BOOT)


class SteadyClock:
    """Seconds since the epoch that begin as the wall has them, never go back and never jump.

    Leases, mutes and slow mode are moments in the log: a wall that is put back by hours would make them last for
    hours, one that is put forward would take the floor from whoever is speaking.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, *, steady: Callable[[], float] = steady, slew: float = SLEW
    ) -> None:
        self._wall, self._steady, self._slew = wall, steady, slew
        self._now, self._seen = min(max(wall(), 0.0), LAST_SECOND), steady()

    def __call__(self) -> float:
        seen = self._steady()
        passed, self._seen = seen - self._seen, seen
        most = passed * self._slew
        self._now += passed
        self._now += min(max(self._wall() - self._now, -most), most)
        return self._now


class OncePerPass:
    """A clock that is looked at once in each pass of the event loop.

    So a message costs no look of its own, and those that come together share their timestamp's text.
    """

    def __init__(self, clock: Callable[[], float], loop: asyncio.AbstractEventLoop) -> None:
        self._clock, self._loop = clock, loop
        self._moment: float | None = None

    def __call__(self) -> float:
        if self._moment is None:
            self._moment = self._clock()
            self._loop.call_soon(self._go_on)
        return self._moment

    def _go_on(self) -> None:
        self._moment = None
