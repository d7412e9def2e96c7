"""A participant of a recorded conversation: what had reached it at any moment, and what it asked its model then."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from palaver.core.entry import Joined
from palaver.core.message import Message, Role, same_name
from palaver.core.prompt import Prompt
from palaver.core.protocol import Event, Grant, HubFrame, Presence, Welcome
from palaver.participants.prompting import prompt_for
from palaver.participants.settings import Settings
from palaver.participants.view import RoomView

GRANTS: Final = 64
"""So many of the last grants are remembered: a message may come under one that was taken back meanwhile."""


class Onlooker:
    """One client's side of the wire. Frames wait in the order of the log until something shows that they were seen."""

    def __init__(self, name: str, role: Role) -> None:
        self.name = name
        self.role = role
        self.room = RoomView()
        self.settings: Settings | None = None
        """None where the log does not tell how it speaks."""
        self._waiting: deque[HubFrame] = deque()
        self._grants: dict[int, tuple[Grant, list[str]]] = {}

    def joined(self, joined: Joined, welcome: Welcome) -> None:
        """It has its seat, for the first time or again; what it had not seen by then comes again with the messages."""
        while self._waiting and not (isinstance(first := self._waiting[0], Message) and first.seq > joined.after):
            self._see(self._waiting.popleft())
        self._waiting.clear()
        if joined.settings is not None:
            told = Settings.from_told(joined.settings)
            self.settings = told if self.settings is None else self.settings
        self._waiting.append(welcome)

    def deliver(self, frame: HubFrame) -> None:
        """A frame is on its way."""
        if isinstance(frame, Message) and not frame.is_for(self.name, self.role):
            return
        if isinstance(frame, Message | Presence | Grant | Event):
            self._waiting.append(frame)

    def moments(self, turn: int, saw_to: int) -> Iterator[Prompt]:
        """Each prompt that it may have made for a turn, where the last message in it was `saw_to`.

        What else reached it then (a redaction, a setting) left no trace of when: each such moment is one. Frames are
        seen as the iteration goes on, and stay seen.
        """
        self._see_until(turn, saw_to)
        yield self._prompt(turn)
        while self._waiting:
            frame = self._waiting.popleft()
            self._see(frame)
            if isinstance(frame, Event) and (prompt := self._prompt(turn)).saw_to == saw_to:
                yield prompt

    def _prompt(self, turn: int) -> Prompt:
        assert self.settings is not None
        grant, _ = self._grants[turn]
        return prompt_for(grant, self.room, self.settings, name=self.name, role=self.role)

    def knows(self, turn: int) -> bool:
        """Whether it was given that turn."""
        return turn in self._grants or any(isinstance(one, Grant) and one.turn == turn for one in self._waiting)

    def others(self, turn: int) -> list[str]:
        """Those whose labels end its words in that turn."""
        return self._grants[turn][1]

    def _see_until(self, turn: int, saw_to: int) -> None:
        """See what came up to that message, and in any case the grant."""
        wanted = [
            place
            for place, frame in enumerate(self._waiting)
            if (isinstance(frame, Message) and frame.seq <= saw_to) or (isinstance(frame, Grant) and frame.turn == turn)
        ]
        for _ in range(max(wanted, default=-1) + 1):
            frame = self._waiting.popleft()
            self._see(frame)

    def _see(self, frame: HubFrame) -> None:
        self.room.take(frame)
        match frame:
            case Grant():
                self._grants[frame.turn] = (frame, self.room.others(self.name))
                while len(self._grants) > GRANTS:
                    del self._grants[next(iter(self._grants))]
            case Event(kind="setting") if self.settings is not None:
                told = frame.data.get("settings")
                if isinstance(told, dict) and same_name(str(frame.data.get("name", "")), self.name):
                    self.settings = replace(self.settings.changed(told))
