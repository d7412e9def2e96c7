"""What a rule wants done: `room.apply` returns these, a hub performs them.

What nearly every entry brings about is only said here and made into a frame by the hub that sends it: a room that is
made again from its log sends nothing.
"""

from typing import Final

import msgspec

from palaver.core.message import Message
from palaver.core.protocol import Close, HubFrame
from palaver.core.state import Grant


class Publish(msgspec.Struct, frozen=True, gc=False):
    """A message has its place: archive it and deliver it to whom it is for."""

    message: Message
    session: str = ""
    """Who is to be told that these words are durable (see `notices.placed`); empty where nobody asked."""


class Rewrite(msgspec.Struct, frozen=True, gc=False):
    """A published message changed (it was redacted): the archive must forget the old text."""

    message: Message


class Announce(msgspec.Struct, frozen=True, gc=False):
    """Everybody in the room gets this frame, or with `moderators` only they do."""

    frame: HubFrame
    moderators: bool = False


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One session gets this frame."""

    session: str
    frame: HubFrame


class Acknowledge(msgspec.Struct, frozen=True, gc=False):
    """A session's words are durable, though they are not published now; `seq` is 0 while they wait."""

    session: str
    id: str
    seq: int


class Entrust(msgspec.Struct, frozen=True, gc=False):
    """A session has the floor: see `floor.grant_frame`."""

    session: str
    grant: Grant


class Admit(msgspec.Struct, frozen=True, gc=False):
    """A session has its seat, by the `Joined` entry of that id: welcome it and send what it missed."""

    session: str
    entry: str


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """A session must go, or is not let in by the `Joined` entry of that id; `code` says whether it may come back."""

    session: str
    code: Close
    reason: str
    entry: str = ""


class Silence(msgspec.Struct, frozen=True, gc=False):
    """Streamed text of this turn must not reach anybody any more."""

    turn: int


class Hearing(msgspec.Struct, frozen=True, gc=False):
    """A session gets no messages any more, or gets them again."""

    session: str
    deaf: bool


class FloorChanged(msgspec.Struct, frozen=True, gc=False):
    """The floor is not as it was: tell everybody, once for all changes that are made together."""


FLOOR_CHANGED: Final = FloorChanged()
"""One is like the other."""

Effect = (
    Publish | Rewrite | Announce | Reply | Acknowledge | Entrust | Admit | Disconnect | Silence | Hearing | FloorChanged
)
