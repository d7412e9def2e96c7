"""Lets one after another begin, as fast as the event loop keeps up: a rush holds up nobody else in the loop."""

import asyncio
from typing import Final

LONGEST_PASS: Final = 0.02
"""Seconds that a pass of the loop may take for one more to begin. A request over HTTP needs three of them or so."""
LONGEST_WAIT: Final = 0.5
"""Seconds after which the first in the line begins all the same: a loop that is always busy keeps nobody out."""
_WEIGHT: Final = 0.25
"""Of the latest pass in what passes take: a short one between long ones lets nobody in."""


class Pace:
    """`await pace.wait()` comes back in the order of the calls; at once where the loop has little to do."""

    def __init__(self, *, longest_pass: float = LONGEST_PASS, longest_wait: float = LONGEST_WAIT) -> None:
        self.waiting = 0
        """How many wait to begin."""
        self.longest_pass = longest_pass
        self.longest_wait = longest_wait
        self._usual = 0.0
        """Seconds that passes took lately, the latest counting most."""
        self._first_in_line = asyncio.Lock()

    async def wait(self) -> None:
        """Wait until one more may begin."""
        clock = asyncio.get_running_loop().time
        self.waiting += 1
        try:
            async with self._first_in_line:
                until = clock() + self.longest_wait
                while await self._one_pass(clock()) > self.longest_pass and clock() < until:
                    pass
        finally:
            self.waiting -= 1

    async def _one_pass(self, began: float) -> float:
        await asyncio.sleep(0)
        self._usual += _WEIGHT * (asyncio.get_running_loop().time() - began - self._usual)
        return self._usual
