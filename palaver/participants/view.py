"""The room as one participant has it before its eyes: what was said, who is here, who has the floor. Bounded."""

from typing import Final

import msgspec

from palaver.core.message import Message, key_of, same_name
from palaver.core.protocol import Event, FloorView, HubFrame, Presence, Seat, Welcome

KEPT: Final = 1024
"""Messages kept. They are dropped by the half, so that what a prompt begins with lasts (`core.prompt.BLOCK`)."""


class RoomView:
    """Takes every frame in; knows nothing of models."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.seats: dict[str, Seat] = {}
        """Who is here, by name key."""
        self.floor: FloorView | None = None

    @property
    def last_seq(self) -> int:
        """`seq` of the last message that was heard, 0 for none."""
        return self.messages[-1].seq if self.messages else 0

    def names(self) -> list[str]:
        """The names of all who are here."""
        return [seat.name for seat in self.seats.values()]

    def others(self, name: str) -> list[str]:
        """All who are here or were heard, but for `name`."""
        names = dict.fromkeys([*self.names(), *(message.sender for message in self.messages)])
        return [other for other in names if not same_name(other, name)]

    def ready_models(self) -> list[str]:
        """The models that can answer now."""
        return [seat.name for seat in self.seats.values() if seat.role == "model" and seat.state == "ready"]

    def holds(self, name: str, turn: int) -> bool:
        """Whether the floor as last told is `name`'s under that turn."""
        holders = self.floor.holders if self.floor is not None else ()
        return any(holder.turn == turn and same_name(holder.name, name) for holder in holders)

    def traceparent(self, seq: int) -> str:
        """The span that made a message, where its author told."""
        meta = next((message.meta for message in reversed(self.messages) if message.seq == seq), None)
        told = (meta or {}).get("traceparent")
        return told if isinstance(told, str) else ""

    def take(self, frame: HubFrame) -> None:
        """See what a frame changes."""
        match frame:
            case Message():
                self.messages.append(frame)
                if len(self.messages) > KEPT:
                    del self.messages[: KEPT // 2]
            case Welcome():
                self.seats = {key_of(seat.name): seat for seat in frame.roster}
                self.floor = frame.floor
            case FloorView():
                self.floor = frame
            case Presence(state="left"):
                self.seats.pop(key_of(frame.name), None)
            case Presence():
                seat = Seat(name=frame.name, role=frame.role, state="ready" if frame.ready else "loading")
                self.seats[key_of(frame.name)] = seat
            case Event(kind="redaction"):
                self._redact(frame)

    def _redact(self, event: Event) -> None:
        seq, reason = event.data.get("seq"), str(event.data.get("reason") or "redacted")
        for place, message in enumerate(self.messages):
            if message.seq == seq:
                self.messages[place] = msgspec.structs.replace(message, content="", redacted=reason)


def stillness(before: FloorView | None, now: FloorView) -> str:
    """Why nobody speaks from now on, or that they do again; empty where neither has changed."""
    if now.ended:
        changed = before is None or not before.ended
        return "the conversation has ended: nobody speaks any more (--room names another)" if changed else ""
    if now.paused:
        changed = before is None or not before.paused
        by = f"paused by {', '.join(now.paused_by)}" if now.paused_by else "the room has paused itself"
        return f"{by}; a moderator's /resume lets it go on" if changed else ""
    if now.waits:
        return now.waits if before is None or not before.waits else ""
    return "it goes on" if before is not None and before.paused else ""
