"""From the engine's thread to the event loop of whoever waits for a reply, without either waiting for the other."""

import asyncio
import threading
from collections.abc import Callable

from palaver.models.engine.request import Outcome


class Channel:
    """Text and the outcome of one reply, in order.

    A loop that is busy gets what has come meanwhile in one piece, so at most one call of ours is ever queued in it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_text: Callable[[str], None] | None) -> None:
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self._loop = loop
        self._on_text = on_text
        self._lock = threading.Lock()  # guards _pieces and _is_scheduled between the two threads
        self._pieces: list[str] = []
        self._is_scheduled = False

    def text(self, piece: str) -> None:
        """One more piece; called in the engine's thread."""
        with self._lock:
            self._pieces.append(piece)
            if self._is_scheduled:
                return
            self._is_scheduled = True
        self._call(self._drain)

    def done(self, outcome: Outcome) -> None:
        """The end; called in the engine's thread, after all text."""
        self._call(lambda: self._finish(outcome))

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop was closed: nobody listens any more
            return

    def _drain(self) -> None:
        with self._lock:
            text, self._pieces = "".join(self._pieces), []
            self._is_scheduled = False
        if not text or self._on_text is None or self.outcome.done():
            return
        try:
            self._on_text(text)
        except Exception as error:  # the listener's mistake ends its own reply, not the loop
            self.outcome.set_exception(error)

    def _finish(self, outcome: Outcome) -> None:
        self._drain()
        if not self.outcome.done():
            self.outcome.set_result(outcome)
