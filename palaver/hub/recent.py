"""The last messages of a room as they went over the wire, for members who missed them for a moment."""

from collections import deque
from itertools import takewhile
from typing import Final, NamedTuple

KEPT: Final = 1024 * 1024
"""Bytes that are kept."""


class Pass(NamedTuple):
    """The messages that left together: those with `seq` `first` to `last`, without a gap, all of them for everybody."""

    first: int
    last: int
    data: bytes


class Recent:
    """Passes in order, without a gap between them. The bytes are those that were written: keeping them costs little."""

    def __init__(self) -> None:
        self._passes: deque[Pass] = deque()
        self._size = 0

    def keep(self, latest: Pass) -> None:
        """Add the latest pass; old ones are forgotten."""
        if self._passes and self._passes[-1].last + 1 != latest.first:
            self.forget()
        self._passes.append(latest)
        self._size += len(latest.data)
        while self._size > KEPT and len(self._passes) > 1:
            self._size -= len(self._passes.popleft().data)

    def after(self, seq: int, most: int) -> list[Pass]:
        """What came after `seq`, whole passes, at most `most` bytes; nothing where no pass begins right after it."""
        later = list(takewhile(lambda one: one.first > seq, reversed(self._passes)))[::-1]
        if not later or later[0].first != seq + 1:
            return []
        found: list[Pass] = []
        for one in later:
            most -= len(one.data)
            if most < 0:
                break
            found.append(one)
        return found

    def forget(self) -> None:
        """Forget all of it: a text in it must not be sent again."""
        self._passes.clear()
        self._size = 0
