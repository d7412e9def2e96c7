"""What the terminal and the pipe have in common: a face that a seat shows lines to, and that attends to one seat."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from palaver.participants.console.seat import Screen, Seat


class Front(Screen, AbstractAsyncContextManager["Front"], Protocol):
    """Entered once; a seat in one room after another is attended to."""

    async def attend(self, seat: Seat) -> None:
        """Read what is typed for this seat until it leaves or there is no more."""

    async def drained(self) -> None:
        """Wait until what was shown has been taken, so that a slow reader slows the link down."""
