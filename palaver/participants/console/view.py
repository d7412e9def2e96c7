"""The room as this seat knows it, from the frames that came: who is here, the floor, what is being said, what was."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from palaver.core.message import Message, key_of
from palaver.core.protocol import Event, FloorView, HubFrame, Presence, Seat, Streamed, Welcome

KEPT: Final = 20_000
"""Messages kept for /history, /lastlog and /save; the oldest go."""
TAIL: Final = 4_000
"""Characters kept of what somebody is just saying."""
NO_FLOOR: Final = FloorView(epoch=0, paused=False, policy="")


@dataclass(slots=True)
class Stream:
    """What somebody is saying under a turn, as far as it has come."""

    sender: str
    turn: int
    text: str = ""


@dataclass(slots=True)
class RoomView:
    """Fed with frames and the time in seconds; it knows no terminal and no socket."""

    room: str
    me: str
    floor: FloorView = NO_FLOOR
    seats: dict[str, Seat] = field(default_factory=dict)
    streams: dict[int, Stream] = field(default_factory=dict)
    loading: dict[str, str] = field(default_factory=dict)
    """By name, how far a model has been loaded."""
    messages: dict[int, Message] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    """Tickets of the messages that wait for /ok."""
    down_since: float | None = 0.0
    """Since when there is no connection; `None` while there is one."""
    unanswered: int = 0
    """What was sent and not yet acknowledged."""
    hiding: str = ""
    """What is not shown, in words."""
    hidden: int = 0
    """How much has not been shown since."""
    _missed: int = 0
    _held_since: dict[int, float] = field(default_factory=dict)
    _arrivals: deque[float] = field(default_factory=deque)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection with a seat."""
        return self.down_since is None

    @property
    def names(self) -> list[str]:
        """Who is here, then who has spoken and is gone."""
        known = {key: seat.name for key, seat in self.seats.items()}
        for message in reversed(self.messages.values()):
            known.setdefault(key_of(message.sender), message.sender)
        known.pop("system", None)
        return list(known.values())

    @property
    def is_caught_up(self) -> bool:
        """Whether there is a connection, and what was missed without one has come."""
        return self.is_up and self._missed <= 0

    def take(self, frame: HubFrame, now: float) -> None:
        """Note what a frame says."""
        match frame:
            case Welcome():
                self._welcome(frame, now)
            case Message():
                self._message(frame, now)
            case FloorView():
                self._floor(frame, now)
            case Streamed():
                stream = self.streams.setdefault(frame.turn, Stream(frame.sender, frame.turn))
                stream.text = (stream.text + frame.text)[-TAIL:]
            case Presence():
                self._presence(frame)
            case Event():
                self._event(frame)
            case _:
                pass

    def lost(self, now: float) -> None:
        """There is no connection any more; what was being said may never come."""
        if self.down_since is None:
            self.down_since = now
        self.streams.clear()
        self.loading.clear()

    def held_for(self, turn: int, now: float) -> float:
        """Seconds that a holder has had the floor, by this machine's clock."""
        return max(0.0, now - self._held_since.get(turn, now))

    def per_minute(self, now: float) -> int:
        """Messages that came within the last minute."""
        while self._arrivals and self._arrivals[0] < now - 60:
            self._arrivals.popleft()
        return len(self._arrivals)

    def _welcome(self, frame: Welcome, now: float) -> None:
        self.me, self.down_since, self._missed = frame.name, None, frame.missed
        self.room = frame.room or self.room
        self.seats = {key_of(seat.name): seat for seat in frame.roster}
        self.streams.clear()
        self._floor(frame.floor, now)

    def _message(self, message: Message, now: float) -> None:
        self.messages[message.seq] = message
        if len(self.messages) > KEPT:
            del self.messages[next(iter(self.messages))]
        if message.turn is not None:
            self.streams.pop(message.turn, None)
        if self._missed > 0:
            self._missed -= 1
        else:
            self._arrivals.append(now)

    def _floor(self, floor: FloorView, now: float) -> None:
        self.floor = floor
        turns = {holder.turn for holder in floor.holders}
        self.streams = {turn: stream for turn, stream in self.streams.items() if turn in turns}
        self._held_since = {turn: self._held_since.get(turn, now) for turn in turns}

    def _presence(self, frame: Presence) -> None:
        key = key_of(frame.name)
        if frame.state == "loading":
            percent = f"{frame.progress:.0%} " if frame.progress is not None else ""
            self.loading[frame.name] = f"{percent}{frame.text.removeprefix('loading ')}".strip()
        else:
            self.loading.pop(frame.name, None)
        if frame.state == "left":
            self.seats.pop(key, None)
            queue = tuple(name for name in self.floor.queue if key_of(name) != key)
            self.floor = msgspec.structs.replace(self.floor, queue=queue)
            self.streams = {turn: one for turn, one in self.streams.items() if key_of(one.sender) != key}
            return
        state = "ready" if frame.state == "joined" else frame.state
        known = self.seats.get(key) or Seat(name=frame.name, role=frame.role, state=state, about=frame.about)
        self.seats[key] = msgspec.structs.replace(known, state=state)

    def _event(self, event: Event) -> None:
        match event.kind:
            case "redaction" if (message := self.messages.get(_number(event.data, "seq"))) is not None:
                reason = str(event.data.get("reason") or "redacted")
                self.messages[message.seq] = msgspec.structs.replace(message, content="", meta=None, redacted=reason)
            case "held" if (ticket := str(event.data.get("id", ""))) and ticket not in self.held:
                self.held.append(ticket)
            case "command":
                self._changed(event.data.get("changed"))
            case "cancelled" | "pass":
                self.streams.pop(_number(event.data, "turn"), None)
            case _:
                pass

    def _changed(self, changed: object) -> None:
        if not isinstance(changed, Mapping):
            return
        for key, seat in self.seats.items():
            if isinstance(pair := changed.get(f"{seat.name} deafened"), list | tuple) and len(pair) == 2:
                self.seats[key] = msgspec.structs.replace(seat, deafened=bool(pair[1]))
        gone = changed.get("held")
        if isinstance(gone, list | tuple) and gone and isinstance(gone[0], list | tuple):
            self.held = [ticket for ticket in self.held if ticket not in gone[0]]


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else -1
