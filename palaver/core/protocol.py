"""The wire: one tagged union of frames for each direction, one decode each, and the table of close codes.

Both sides meet here and nowhere else. JSON text frames, `type` first. A member's frames have no sender field:
forging a sender cannot be said. `docs/protocol.md` is generated from these types.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Annotated, Any, Final, Literal

import msgspec

from palaver.core.errors import ProtocolError
from palaver.core.message import Message, Role, depth
from palaver.core.names import ROOM_FORM, Name, RoomName, tidy_name

MAX_FRAME: Final = 256 * 1024
"""Largest frame in bytes that the hub reads."""
MAX_CONTENT: Final = 64 * 1024
MAX_DEPTH: Final = 32
"""Objects and lists within each other that a message's `meta` may have: what one program can just read, another that
is deeper in its stack cannot."""
MAX_TOKEN: Final = 4096

Id = Annotated[str, msgspec.Meta(max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_CONTENT)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Close(IntEnum):
    """Close codes. 4000 to 4499: come back (with `after`); 4500 to 4999: stay away until something changes."""

    GOING_AWAY = 4000
    SLOW = 4001
    TAKEN_OVER = 4002
    LOG_UNAVAILABLE = 4003
    TOO_MANY = 4004
    BAD_FRAME = 4500
    NAME_TAKEN = 4501
    ACCESS_DENIED = 4502
    KICKED = 4503
    BANNED = 4504
    ROOM_ENDED = 4505
    JOIN_TIMEOUT = 4506
    TOKEN_EXPIRED = 4507
    FLOOD = 4508

    @property
    def may_return(self) -> bool:
        """Whether a client should reconnect by itself."""
        return self < 4500


NACKS: Final = {
    "not_joined": "this session has no seat in the room (it was kicked, or another connection took it over)",
    "not_allowed": "the role may not do this: observers read, commands are for moderators",
    "empty": "a message must hold some text",
    "no_such_name": "nobody here is called as `to` says",
    "no_floor": "an agent spoke without a grant; wait for one",
    "stale_epoch": "the turn was used, revoked or ran out; wait for a new grant",
    "paused": "the room is paused; people may speak on",
    "muted": "a moderator has muted this participant; `retry_after` says for how long where that is known",
    "budget": "this participant has spent its budget",
    "dropped": "a moderator did not let a held message through",
    "ended": "the conversation has ended",
    "bad_command": "the command was not understood or cannot be done; the reason says why",
    "rate_limited": "more frames than this hub takes of one member; try again after `retry_after`",
    "unavailable": "the log cannot take anything at present; try again after `retry_after`",
}
"""Every code of a `nack`, and what it means."""


# --- what members send -------------------------------------------------------------------------------------------


class FromMember(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
):
    """A frame that a member sends; unknown fields are refused by name."""


class Join(FromMember, frozen=True, kw_only=True, tag="join"):
    """First frame of a connection. `after` is the last `seq` seen: what came later is sent again.

    `session` is a secret that the client makes up once: joining again with it takes the seat over, whatever became
    of the old connection. `deltas` asks for streamed text.
    """

    name: Name
    role: Role
    room: RoomName = "main"
    token: Annotated[str, msgspec.Meta(max_length=MAX_TOKEN)] | None = None
    """A secret or a signed token, where the hub asks for one; it never belongs into a URL."""
    after: Count | None = None
    session: Id | None = None
    deltas: bool = True
    ready: bool = True
    """False while a model is still loading: no floor is granted until a `status` says ready."""
    about: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """What speaks here, for `/whois`: model, device, backend."""
    settings: dict[str, Any] | None = None
    """How it speaks (personality, sampling, how much it sees): kept in the hub's log for replays. Moderators are shown
    its numbers and its model, nobody the rest."""


class Say(FromMember, frozen=True, kw_only=True, tag="message"):
    """Something to say. Sending it again under the same `id` says it once."""

    content: Text
    id: Id = ""
    to: Name | None = None
    reply_to: Count | None = None
    turn: Count | None = None
    meta: dict[str, Any] | None = None


class Delta(FromMember, frozen=True, kw_only=True, tag="delta"):
    """The next piece of the text that is being generated under `turn`; never logged."""

    turn: Count
    text: Text


class Pass(FromMember, frozen=True, kw_only=True, tag="pass"):
    """Gives the floor back without speaking. Silence is data, a failure is said: `failed` shows it to the humans."""

    turn: Count
    reason: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    failed: bool = False
    meta: dict[str, Any] | None = None
    """What made the silence, where a model was asked; kept in the log."""


class Cancelled(FromMember, frozen=True, kw_only=True, tag="cancelled"):
    """Answer to `revoke`: generation has stopped `latency` seconds after the revoke arrived."""

    turn: Count
    latency: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    tokens: Count = 0
    content: Text = ""
    """What had been generated; kept in the log, never shown in the room."""


class FloorRequest(FromMember, frozen=True, kw_only=True, tag="floor_request"):
    """Raises a hand (BFCP FloorRequest); `urgency` 0..1 is the bid under the policy `bid`."""

    urgency: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class Status(FromMember, frozen=True, kw_only=True, tag="status"):
    """How the client is: `loading` with progress 0..1, or `ready`."""

    state: Literal["loading", "ready"]
    text: Annotated[str, msgspec.Meta(max_length=500)] = ""
    progress: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class Command(FromMember, frozen=True, kw_only=True, tag="command"):
    """A moderator's command, the same text as typed at the console, e.g. `/pause Zen Sage`."""

    id: Id
    text: Annotated[str, msgspec.Meta(max_length=MAX_CONTENT)]


class Leave(FromMember, frozen=True, kw_only=True, tag="leave"):
    """A deliberate goodbye, so that the others see why."""

    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


MemberFrame = Say | Delta | Pass | Cancelled | FloorRequest | Status | Command | Leave


# --- what the hub sends ------------------------------------------------------------------------------------------


class FromHub(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """A frame that the hub sends; clients ignore fields that they do not know."""

    room: str = ""
    timestamp: str = ""


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the roster."""

    name: str
    role: Role
    state: str
    """`loading`, `ready` or `away`."""
    muted: bool = False
    deafened: bool = False
    about: str = ""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has the floor."""

    name: str
    turn: int
    since: str
    reason: str = ""


class FloorView(FromHub, frozen=True, kw_only=True, tag="floor"):
    """State of the floor, sent whenever it changed and again in every `welcome`."""

    epoch: int
    paused: bool
    policy: str
    params: Mapping[str, Any] = {}
    holders: tuple[Holder, ...] = ()
    muted: tuple[str, ...] = ()
    hands: tuple[str, ...] = ()
    queue: tuple[str, ...] = ()
    """Who is likely to be next, nearest first, where the policy knows."""
    since_human: int = 0
    """Agent messages since a human spoke."""
    hop_limit: int = 0
    slow: float = 0.0
    approval: bool = False
    held: int = 0
    budget: float | None = None
    """Share of the room's budget that is used up, or of the participant's that has used most; None without any."""
    topic: str = ""
    paused_by: tuple[str, ...] = ()
    """Moderators who have paused the room; nobody where it paused itself (`/step`, hop limit, budget, alarm)."""
    waits: str = ""
    """What the room waits for that does not come by itself, though nobody has paused it, in words for people: before a
    colon what it is, then why, or what to do."""
    ended: bool = False
    """The conversation has ended: nobody speaks here any more."""


class Welcome(FromHub, frozen=True, kw_only=True, tag="welcome"):
    """Answer to `join`: who you are here, who else is, the floor, and how many missed messages follow at once."""

    name: str
    role: Role
    session: str
    seq: int
    """`seq` of the room's last message."""
    missed: int
    """So many `message` frames follow directly."""
    complete: bool = True
    """False where older messages were missed than the hub sends again."""
    members: int
    roster: tuple[Seat, ...]
    floor: FloorView
    pins: tuple[int, ...] = ()


class System(FromHub, frozen=True, kw_only=True, tag="system"):
    """A notice of the hub itself, for people."""

    content: str
    level: Literal["info", "warning", "error"] = "info"
    code: str = ""


class Presence(FromHub, frozen=True, kw_only=True, tag="presence"):
    """Somebody came, went or changed."""

    name: str
    role: Role
    state: Literal["joined", "left", "away", "loading", "ready"]
    ready: bool = True
    """False while its model is loading."""
    text: str = ""
    progress: float | None = None
    members: int = 0
    about: str = ""
    """What it told of itself, where it joined."""


class Grant(FromHub, frozen=True, kw_only=True, tag="grant"):
    """You have the floor: say one message with this `turn`, or `pass`, within `lease` seconds."""

    turn: int
    epoch: int
    lease: float
    context: int
    """Answer what the room holds up to this `seq` (and whatever came since)."""
    policy: str
    reason: str
    purpose: Literal["speak", "select"] = "speak"
    choices: tuple[str, ...] = ()
    """With purpose `select`: answer with exactly one of these names."""


class Revoke(FromHub, frozen=True, kw_only=True, tag="revoke"):
    """The floor is no longer yours: stop generating and answer `cancelled`."""

    turn: int
    epoch: int
    reason: str


class Ack(FromHub, frozen=True, kw_only=True, tag="ack"):
    """Done and durable. For a message its `seq`, null while it is held or sealed; for a command what changed, as
    `{what: [before, after]}`, null where nothing did."""

    id: str
    seq: int | None = None
    text: str = ""
    changed: Mapping[str, Any] | None = None


class Nack(FromHub, frozen=True, kw_only=True, tag="nack"):
    """Refused, and why; nothing was said or changed. `retry_after` is in seconds."""

    id: str
    code: str
    reason: str
    retry_after: float | None = None


class Streamed(FromHub, frozen=True, kw_only=True, tag="delta", rename={"sender": "from"}):
    """The next piece of what somebody is saying."""

    sender: str
    turn: int
    text: str


class Event(FromHub, frozen=True, kw_only=True, tag="event"):
    """Something happened to the room: topic, pin, redaction, setting, alarm, held, mark, score, cancel, ended."""

    kind: str
    actor: str = ""
    text: str = ""
    data: Mapping[str, Any] = {}


class Error(FromHub, frozen=True, kw_only=True, tag="error"):
    """A frame that could not be taken, or why the connection closes after it."""

    code: str
    reason: str


HubFrame = Welcome | Message | System | Presence | FloorView | Grant | Revoke | Ack | Nack | Streamed | Event | Error

# --- one decode for each direction -------------------------------------------------------------------------------

_member_decoder: msgspec.json.Decoder[MemberFrame] = msgspec.json.Decoder(MemberFrame)
_join_decoder = msgspec.json.Decoder(Join)
_hub_decoder: msgspec.json.Decoder[HubFrame] = msgspec.json.Decoder(HubFrame)

_BEGINNING: Final = (
    'a connection begins with {"type":"join","name":"Ada","role":"model","room":"main"}; the role may also be '
    "user_sim, moderator or observer"
)
encode: Final[Callable[[FromMember | HubFrame], bytes]] = msgspec.json.Encoder().encode
"""The frame as UTF-8 JSON, `type` first."""


def decode_member(raw: str | bytes) -> MemberFrame:
    """A member's frame; raises `ProtocolError` that says what does not fit."""
    try:
        frame = _member_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(_explain(error)) from error
    if isinstance(frame, Say) and frame.meta and depth(frame.meta, MAX_DEPTH + 1) > MAX_DEPTH:
        raise ProtocolError(f"meta is nested more than {MAX_DEPTH} deep: say it flatter")
    return frame


def decode_join(raw: str | bytes) -> Join:
    """The first frame; raises `ProtocolError`. The name comes back tidied (see `tidy_name`)."""
    try:
        join = _join_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"{_explain(error)}; {_BEGINNING}") from error
    return msgspec.structs.replace(join, name=tidy_name(join.name))


def decode_hub(raw: str | bytes) -> HubFrame:
    """A hub's frame, for clients; raises `ProtocolError` for types that this version does not know."""
    try:
        return _hub_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(_explain(error)) from error


def _explain(error: Exception) -> str:
    text = str(error)
    for field in ("from", "sender", "role", "seq", "timestamp"):
        if f"unknown field `{field}`" in text:
            return f"field '{field}' is stamped by the hub and cannot be sent"
    if "`$.room`" in text:
        text = f"a room's name must have {ROOM_FORM}"
    return f"frame does not fit the protocol: {text}"
