"""What a rule wants done: `Room.apply` returns these, a hub performs them."""

from dataclasses import dataclass

from palaver.core.message import Message
from palaver.core.protocol import Close, HubFrame


@dataclass(frozen=True, slots=True)
class Publish:
    """A message has its place: archive it and deliver it to whom it is for."""

    message: Message


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A published message changed (it was redacted): the archive must forget the old text."""

    message: Message


@dataclass(frozen=True, slots=True)
class Announce:
    """Everybody in the room gets this frame, or with `moderators` only they do."""

    frame: HubFrame
    moderators: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """One session gets this frame."""

    session: str
    frame: HubFrame


@dataclass(frozen=True, slots=True)
class Admit:
    """A session has its seat, by the `Joined` entry of that id: welcome it and send what it missed."""

    session: str
    entry: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A session must go, or is not let in by the `Joined` entry of that id; `code` says whether it may come back."""

    session: str
    code: Close
    reason: str
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Streamed text of this turn must not reach anybody any more."""

    turn: int


@dataclass(frozen=True, slots=True)
class Hearing:
    """A session gets no messages any more, or gets them again."""

    session: str
    deaf: bool


@dataclass(frozen=True, slots=True)
class FloorChanged:
    """The floor is not as it was: tell everybody, once for all changes that are made together."""


Effect = Publish | Rewrite | Announce | Reply | Admit | Disconnect | Silence | Hearing | FloorChanged
