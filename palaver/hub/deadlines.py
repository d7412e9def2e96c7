"""The clock of a room: one timer for whatever falls due next, proposed to the log as an entry."""

import asyncio
from collections.abc import Callable
from typing import Final

from palaver.core import due
from palaver.core.entry import Elapsed
from palaver.core.state import RoomState

LEASES: Final = 5
"""A holder that keeps streaming may keep the floor for so many leases."""
LATER: Final = 1.0
"""Seconds that other hubs wait, so that the one that is nearest to a deadline proposes it alone while it lives."""


class Deadlines:
    """Watches `due.deadlines`; every hub of a room may propose the same one, the rules take it once."""

    def __init__(
        self, state: RoomState, hub: str, clock: Callable[[], float], propose: Callable[[Elapsed], None]
    ) -> None:
        self._state = state
        self._hub = hub
        self._clock = clock
        self._propose = propose
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._proposed: set[str] = set()
        self._alive: dict[int, float] = {}
        self._is_closed = False

    def sign_of_life(self, turn: int) -> None:
        """The holder of this turn streams: its lease begins anew."""
        self._alive[turn] = self._clock()

    def settled(self, key: str) -> None:
        """A proposal came back from the log."""
        self._proposed.discard(key)

    def refused(self, key: str) -> None:
        """The log could not take a proposal: it is made again in a while, if it is still due."""
        self._proposed.discard(key)
        self._loop.call_later(LATER, self.watch)

    def watch(self) -> None:
        """Set the timer for the next deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = [self._postponed(moment, key) for moment, key in self._open()]
        if due and not self._is_closed:
            self._timer = self._loop.call_later(max(0.0, min(due) - self._clock()), self._due)

    def _open(self) -> list[tuple[float, str]]:
        return [item for item in due.deadlines(self._state) if item[1] not in self._proposed]

    def _postponed(self, moment: float, key: str) -> float:
        """A lease runs from the last sign of life, for five leases at most. Hubs that are not the nearest wait."""
        kind, _, turn = key.partition(":")
        if kind == "lease":
            lease = self._state.floor.lease
            moment = min(max(moment, self._alive.get(int(turn), 0.0) + lease), moment + (LEASES - 1) * lease)
        return moment if self._is_nearest(turn) else moment + LATER

    def _is_nearest(self, turn: str) -> bool:
        """Whether the holder of that turn sits at this hub; without one, whoever has sat here for longest counts."""
        state = self._state
        keys = [key for key, given in state.floor.grants.items() if str(given.turn) == turn] or state.speakers
        member = state.members.get(next(iter(keys), ""))
        return member is None or member.hub == self._hub

    def _due(self) -> None:
        self._timer = None
        now = self._clock()
        for moment, key in self._open():
            if self._postponed(moment, key) <= now:
                self._proposed.add(key)
                self._propose(Elapsed(key=key))
        open_turns = {given.turn for given in self._state.floor.grants.values()}
        self._alive = {turn: seen for turn, seen in self._alive.items() if turn in open_turns}
        self.watch()

    def close(self) -> None:
        """Stop."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
