"""All that a room is, as plain data: whatever is here is in every snapshot, and nothing else counts."""

from typing import Any, Literal

import msgspec

from palaver.core.message import AGENTS, Message, Role

FOREVER = float("1e15")
"""A deadline that never comes, in seconds since the epoch; JSON has no infinity."""


class Member(msgspec.Struct, kw_only=True):
    """Somebody who sits in the room now."""

    name: str
    role: Role
    session: str
    connection: str
    """Id of the `Joined` entry that seated it."""
    hub: str
    ready: bool = True
    away: bool = False
    """It let a lease run out, or its hub was lost, and it has not been heard of since."""
    about: str = ""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The floor, given to one participant for one message: RFC 8855 calls it a granted floor request."""

    name: str
    turn: int
    epoch: int
    since: float
    deadline: float
    context: int
    reason: str
    purpose: Literal["speak", "select"] = "speak"
    choices: tuple[str, ...] = ()


class Hand(msgspec.Struct, frozen=True, kw_only=True):
    """A raised hand, or a bid."""

    name: str
    urgency: float = 0.0
    reason: str = ""
    time: float = 0.0


class Record(msgspec.Struct, kw_only=True):
    """What is kept about a participant beyond one connection, so that leaving and coming back changes nothing."""

    name: str
    role: Role
    heard: int = 0
    """It has answered (or passed on, or came after) every message up to this `seq`."""
    spoke: int = 0
    """`seq` of its last message, 0 for none."""
    messages: int = 0
    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    muted_until: float = 0.0
    deafened: bool = False
    deaf: list[list[int]] = []
    """Ranges of `seq` it was deafened for, first and last; the last is 0 while it lasts."""
    slow_until: float = 0.0
    budget: dict[str, float] = {}
    warned: float = 0.0
    """The share of the budget that was last warned of."""
    started: dict[str, Any] = {}
    """What its client told, when it joined, of the settings that `/set` can change; never its personality."""
    settings: dict[str, Any] = {}
    """What `/set` has changed of them."""
    scores: dict[str, float] = {}
    cut: int = 0
    """How often text after another participant's label was cut from its words (`spoke_for_other`)."""
    latencies: list[float] = []
    """Seconds from revoke to `cancelled`, the last 100."""
    revoked: dict[int, float] = {}
    """Revoked turns not yet answered by `cancelled`, and since when."""
    unresponsive: bool = False
    """It has let a revoke go unanswered for longer than it may; until it answers one, or joins again."""

    turns: int = 0
    """Turns it has used, by speaking or passing."""
    left: float = -FOREVER
    """When it lost its connection; long ago while it is here, and where it was sent away."""

    def is_muted(self, now: float) -> bool:
        """Whether it may not speak at `now` (seconds since the epoch)."""
        return self.muted_until > now


class Held(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message that waits: for the moderator's approval, or for the others under `simultaneous`."""

    session: str
    name: str
    role: Role
    time: float
    id: str
    content: str
    to: str | None = None
    reply_to: int | None = None
    turn: int | None = None
    meta: dict[str, Any] | None = None


class Floor(msgspec.Struct, kw_only=True):
    """Who may speak."""

    epoch: int = 1
    turn: int = 0
    """Number of the last grant."""
    paused: bool = False
    paused_by: list[str] = []
    """Moderators who have paused the room, until it goes on; nobody where it paused itself."""
    policy: str = "open"
    params: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    """What the policy remembers; thrown away when the policy changes."""
    generator: int = 0
    """State of the seeded generator (splitmix64)."""
    grants: dict[str, Grant] = {}
    """Open grants by name key."""
    hands: list[Hand] = []
    since_human: int = 0
    in_a_row: int = 0
    """Agent messages since a human or a simulated user spoke."""
    hop_limit: int = 40
    lease: float = 120.0
    slow: float = 0.0
    approval: bool = False
    steps: int | None = None
    """Agent messages left until the room pauses again (`/step`)."""
    last: str = ""
    """Key of whoever used the last turn."""
    reserved: str = ""
    reserved_turns: int = 0
    """Turns that the moderator keeps for `reserved`, the one that is open included."""
    sealed: list[Held] = []


class RoomState(msgspec.Struct, kw_only=True):
    """A room between two entries."""

    name: str
    seq: int = 0
    applied: int = 0
    """Position in the log of the last entry applied."""
    now: float = 0.0
    """The latest time that any entry has borne; never goes back."""
    members: dict[str, Member] = {}
    """Who is here, by name key, in order of arrival."""
    speakers: dict[str, bool] = {}
    """Keys of those members who are no observers, in the same order: what a crowd's roster shows."""
    idle: dict[str, bool] = {}
    """Keys of agents that are here and have not got the floor, in no order: who could be given it."""
    lost: dict[str, float] = {}
    """Members whose hub was lost, by name key, and since when: their seats are kept for a while."""
    records: dict[str, Record] = {}
    """Speaking participants that were ever here, by name key."""
    floor: Floor = msgspec.field(default_factory=Floor)
    history: list[Message] = []
    """The last messages, oldest first; at least `history_limit` of them once there were so many."""
    history_limit: int = 200
    seen: dict[str, int] = {}
    """`session/id` of recent messages and commands to their `seq` (0 for a command); bounded."""
    held: dict[str, Held] = {}
    held_count: int = 0
    topic: str = ""
    pins: list[int] = []
    banned: dict[str, float] = {}
    decisions: dict[int, str] = {}
    """Why each of the last turns was granted."""
    budget: dict[str, float] = {}
    rationed: bool = False
    """Whether a participant has, or had, a budget of its own."""
    spent: dict[str, float] = {}
    """What all have used together, and `since` when seconds count."""
    warned: float = 0.0
    opened: float = 0.0
    ended: bool = False
    alarm: dict[str, Any] = {}
    forked_from: dict[str, Any] = {}
    """`room` and `seq` of where it parted from another; empty for a room of its own."""

    def __post_init__(self) -> None:
        """Snapshots of versions that did not keep these hold what they follow from."""
        self.idle = self.idle or {key: True for key, _, _ in self.agents() if key not in self.floor.grants}
        self.rationed = self.rationed or any(record.budget for record in self.records.values())

    def agents(self) -> list[tuple[str, Member, Record]]:
        """Models and simulated users that are here: name key, member, record; in order of first arrival."""
        members = self.members
        return [
            (key, members[key], record)
            for key, record in self.records.items()
            if key in members and members[key].role in AGENTS
        ]


def copy_of(floor: Floor) -> Floor:
    """A floor of its own, with nothing shared."""
    return msgspec.json.decode(msgspec.json.encode(floor), type=Floor)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RoomState)


def encode_state(state: RoomState) -> bytes:
    """A snapshot: states that came from the same entries give equal bytes."""
    return _encoder.encode(state)


def decode_state(raw: bytes) -> RoomState:
    """The state that a snapshot holds."""
    return _decoder.decode(raw)
