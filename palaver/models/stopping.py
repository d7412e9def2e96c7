"""How a reply ends before its model would end it: a stop string is found, or somebody presses stop."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from palaver.models.model import Cancel

T = TypeVar("T")


class StopStrings:
    """Finds stop strings in text that comes in pieces and holds back what might be the beginning of one."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [each for each in stop if each]
        self._held = ""
        self.found: str | None = None
        """The stop string that ended the text."""

    def feed(self, piece: str) -> str:
        """What of the text may be let out now; nothing after a stop string was found."""
        if self.found is not None:
            return ""
        text = self._held + piece
        first = min(((text.find(each), -len(each), each) for each in self._stop if each in text), default=None)
        if first is not None:
            self._held, self.found = "", first[2]
            return text[: first[0]]
        keep = self._possible_beginning(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back, once it is known that nothing more will come."""
        held, self._held = self._held, ""
        return held

    def _possible_beginning(self, text: str) -> int:
        longest = max((len(each) for each in self._stop), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(each.startswith(text[-size:]) for each in self._stop):
                return size
        return 0


async def unless_pressed(cancel: Cancel | None, work: Coroutine[Any, Any, T]) -> T | None:
    """Run `work`; None when `cancel` was pressed first: then `work` was cancelled where it stood.

    Pressing works from any thread. Cancelling the caller cancels `work` too and is passed on.
    """
    if cancel is None:
        return await work
    if cancel.is_set():
        work.close()
        return None
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)

    def stop() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the work with it
            loop.call_soon_threadsafe(task.cancel)

    cancel.on_press(stop)
    try:
        return await task
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if cancel.is_set() and not (caller is not None and caller.cancelling()):
            return None
        raise
