"""Frames and screens for the console's tests."""

from typing import Any

from palaver.core.message import Message, Role
from palaver.core.protocol import Ack, FloorView, Nack, Seat, Welcome
from palaver.participants.console.lines import Line
from palaver.participants.link import Answer

TIME = "2026-01-01T00:00:00.000Z"


def message(seq: int, sender: str, content: str, **fields: Any) -> Message:
    role: Role = "moderator" if sender == "Moderator" else "model"
    given = {"room": "main", "id": f"m{seq}", "role": role, "timestamp": TIME, **fields}
    return Message(seq=seq, sender=sender, content=content, **given)


def floor(**fields: Any) -> FloorView:
    return FloorView(**{"room": "main", "timestamp": TIME, "epoch": 1, "paused": False, "policy": "open", **fields})


def welcome(*names: str, **fields: Any) -> Welcome:
    roster = tuple(Seat(name=name, role="model", state="ready") for name in names)
    given = {"room": "main", "timestamp": TIME, "seq": 0, "missed": 0, "session": "s", "floor": floor(), **fields}
    return Welcome(name="Moderator", role="moderator", members=len(roster) + 1, roster=roster, **given)


class ListScreen:
    """Keeps the lines that a seat shows."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.refused: list[Line] = []
        self.cleared = 0

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.lines]

    def show(self, line: Line) -> None:
        self.lines.append(line)

    def refuse(self, line: Line) -> None:
        self.refused.append(line)

    def refresh(self) -> None:
        pass

    def clear(self) -> None:
        self.cleared += 1


class ListHub:
    """Keeps what a seat sends and acknowledges it, or refuses it with `reason`."""

    def __init__(self, reason: str = "") -> None:
        self.sent: list[str] = []
        self.reason = reason

    async def say(self, text: str) -> Answer:
        return self._answer(f"say {text}")

    async def command(self, text: str) -> Answer:
        return self._answer(text)

    def _answer(self, text: str) -> Answer:
        self.sent.append(text)
        if self.reason:
            return Nack(timestamp=TIME, id="1", code="no", reason=self.reason)
        return Ack(timestamp=TIME, id="1", text=f"done: {text}")
