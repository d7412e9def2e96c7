"""What passes by in a room and is kept nowhere, for who listens over HTTP: text as it is written, and the floor."""

from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from palaver.core.protocol import FloorView, HubFrame, Streamed
from palaver.core.views import floor_view
from palaver.hub.host import RoomHost
from palaver.hub.outbox import Outbox

MOST: Final = 1000
"""Pieces of text that wait for one who does not read; older ones are lost, their message is not."""


class Passing:
    """One who listens; `wake` is called when there is something new. Leave it with `detach`."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._texts: deque[Streamed] = deque(maxlen=MOST)
        self._floor: FloorView | None = None
        self._outbox: Outbox | None = None

    def attach(self, host: RoomHost | None) -> None:
        """Listen to the room, from its floor as it stands; `None` while it is not open."""
        if host is None or host.outbox is self._outbox:
            return
        self.detach()
        self._outbox = host.outbox
        self._outbox.listeners.add(self)
        self._floor = floor_view(host.state)

    def detach(self) -> None:
        """Listen no more."""
        if self._outbox is not None:
            self._outbox.listeners.discard(self)

    def passes(self, frame: HubFrame) -> None:
        """A frame for everybody is on its way."""
        match frame:
            case Streamed():
                self._texts.append(frame)
            case FloorView():
                self._floor = frame
            case _:
                return
        self._wake()

    def silence(self, turn: int) -> None:
        """What was written in this turn and has not been taken is not heard."""
        self._texts = deque((text for text in self._texts if text.turn != turn), maxlen=MOST)

    def take(self, said: Collection[int]) -> list[Streamed | FloorView]:
        """What is new, without the text of turns whose message is out already."""
        texts = [text for text in self._texts if text.turn not in said]
        floor, self._floor = self._floor, None
        self._texts.clear()
        return [*texts, *([floor] if floor is not None else [])]
