"""A clock that goes only when somebody sleeps."""

import asyncio


class FakeClock:
    """Call it for the time; `sleep` moves it on at once and remembers how long."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let that time pass."""
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
