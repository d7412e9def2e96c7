"""Programs that run until they are done or told to stop: SIGINT and SIGTERM are ordinary ways to end."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; a signal cancels it, so that it can say goodbye, and the exit code is 0. A second one kills."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)

    def stop() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        task.cancel()

    for number in _SIGNALS:
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C is a KeyboardInterrupt there
            loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        return 0
