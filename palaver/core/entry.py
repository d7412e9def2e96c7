"""What the log holds: a member's frame stamped by the hub that took it, or an event that a hub proposes.

Time, ids and identity come in with the entry, so that everybody who applies the same entries gets the same room.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from palaver.core.errors import ProtocolError
from palaver.core.message import Message, Role
from palaver.core.protocol import Cancelled, Command, FloorRequest, Pass, Say, Status
from palaver.core.state import Floor

LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, in seconds since the epoch; beyond it there are no timestamps."""


class Joined(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="joined", tag_field="type"):
    """A connection was admitted under the entry's name and role."""

    hub: str
    ready: bool = True
    about: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """Seeds the room's generator, where this entry opens the room."""
    opening: Floor | None = None
    """The floor that the room begins with, where this entry opens it: hubs with other defaults get the same room."""
    after: int = 0
    """Messages above this `seq` were sent to it."""
    settings: dict[str, Any] | None = None
    """How it says that it speaks (`Join.settings`): with it, a replay can make its prompts again."""


class Left(msgspec.Struct, frozen=True, kw_only=True, tag="left", tag_field="type"):
    """A connection ended, for whatever reason; it gives back its seat unless another connection has taken it over."""

    connection: str
    """Id of the `Joined` entry that gave it."""
    reason: str = ""


class Elapsed(msgspec.Struct, frozen=True, kw_only=True, tag="elapsed", tag_field="type"):
    """A deadline of the room has passed. Idempotent: it does nothing unless `key` is still due."""

    key: str
    """`lease:TURN`, `cancel:TURN`, `gone` or `wake`: see `due.deadlines`."""


class HubStarted(msgspec.Struct, frozen=True, kw_only=True, tag="hub_started", tag_field="type"):
    """A hub began a new life: whoever sat in the room by way of it is gone."""

    hub: str


class HubLost(msgspec.Struct, frozen=True, kw_only=True, tag="hub_lost", tag_field="type"):
    """A hub has not been heard of for a while: whoever sits in the room by way of it is away. Idempotent."""

    hub: str


class HubBack(msgspec.Struct, frozen=True, kw_only=True, tag="hub_back", tag_field="type"):
    """A hub that was called lost lives, and its members are still connected to it. Idempotent."""

    hub: str


class Forked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="forked", tag_field="type"):
    """From here on the room goes its own way: what came before was said in another, and nobody of there sits here."""

    origin: str
    """The other room."""
    seq: int
    """Its last message that is common to both."""
    settings: dict[str, dict[str, Any]] = {}
    """What participants are told when they come, by name: see `steering.content.SETTINGS`."""
    redacted: tuple[Message, ...] = ()
    """Messages that were taken back there later: they stay taken back."""
    messages: tuple[Message, ...] = ()
    """What was said there, where its log is not at hand."""


HubEvent = Joined | Left | Elapsed | HubStarted | HubLost | HubBack | Forked
Logged = Say | Pass | Cancelled | FloorRequest | Status | Command | HubEvent


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One entry of the log. `time` is in seconds since the epoch (UTC), as the hub's clock had it."""

    id: str
    room: str
    session: str
    name: str
    role: Role
    time: Annotated[float, msgspec.Meta(ge=0, le=LAST_SECOND)]
    frame: Logged


_decoder = msgspec.json.Decoder(Entry)
_encoder = msgspec.json.Encoder()


def encode_entry(entry: Entry) -> bytes:
    """The entry as it lies in the log: UTF-8 JSON."""
    return _encoder.encode(entry)


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """The same of several, a line each."""
    return _encoder.encode_lines(entries)[:-1]


def decode_entries(raw: bytes | memoryview) -> list[Entry]:
    """Entries of several lines; raises `ProtocolError` where one of them cannot be one."""
    try:
        return _decoder.decode_lines(raw)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"log entries cannot be read: {error}") from error


def decode_entry(raw: bytes) -> Entry:
    """An entry of the log; raises `ProtocolError` where it cannot be one."""
    try:
        return _decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"log entry cannot be read: {error}") from error
