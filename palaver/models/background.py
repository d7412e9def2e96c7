"""Blocking calls for callers that await, in a thread that holds up no end of the program."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


def in_background(work: Callable[[], Any], name: str) -> asyncio.Future[Any]:
    """What `work` gives or raises; it must not raise `StopIteration`, which no future can bear.

    Its thread, called `name`, is a daemon: nobody waits for it when the program ends, however long it takes.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():  # nobody waits any more
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done
