"""What a policy sees of a room: who owes an answer and who could give one, looked up only when it is asked for.

Most entries change nothing for the floor, and most policies ask only who owes. So that is found first and cheaply, and
the rest is prepared for those that want it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from palaver.core import budgets
from palaver.core.message import AGENTS, Message, Role, key_of
from palaver.core.state import Member, Record, RoomState

Waits = Literal["", "slow", "loading"]


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One who could be given the floor."""

    key: str
    name: str
    role: Role
    owes: bool
    """Somebody else has spoken since it last answered, passed or arrived."""
    heard: int
    """It has answered every message up to this `seq`."""
    spoke: int
    """`seq` of its last message, 0 for none."""
    urgency: float | None = None
    """Its bid 0..1, `None` while its hand is down."""
    waits: Waits = ""
    """Why it cannot speak now, but will by itself."""


class Situation(msgspec.Struct, dict=True, eq=False):
    """What a policy decides on, of use until the state changes. It cannot be changed but for `memory` and `random`."""

    _state: RoomState
    params: Mapping[str, Any]
    """Parameters of the policy, its defaults included."""
    owing: Sequence[Candidate]
    """Candidates who owe an answer."""

    @cached_property
    def candidates(self) -> Sequence[Candidate]:
        """Present, ready, unmuted agents without the floor, in order of arrival."""
        return [one for one in self.everyone if can_speak(self._state, one.key)]

    @cached_property
    def everyone(self) -> Sequence[Candidate]:
        """All agents that are here, also those who cannot speak now, in order of arrival."""
        state = self._state
        return [
            Candidate(
                key,
                member.name,
                member.role,
                owes(state, record),
                record.heard,
                record.spoke,
                _bid(state, key),
                _waits(state, member, record),
            )
            for key, member, record in state.agents()
        ]

    @cached_property
    def turns(self) -> Mapping[str, int]:
        """How many turns everybody has used who was ever here, by key, in order of first arrival."""
        return {key: record.turns for key, record in self._state.records.items()}

    @property
    def last(self) -> str:
        """Key of whoever used the last turn, by speaking or passing."""
        return self._state.floor.last

    @property
    def missing(self) -> frozenset[str]:
        """Under `debate`, which waits for them: keys of those whose connection was lost less than a lease ago."""
        state, floor = self._state, self._state.floor
        if floor.policy != "debate":
            return frozenset()
        return frozenset(key for key, record in state.records.items() if state.now < record.left + floor.lease)

    @property
    def history(self) -> Sequence[Message]:
        """The last messages, whispers included, oldest first."""
        return self._state.history

    @property
    def memory(self) -> dict[str, Any]:
        """The policy's own to read and change."""
        return self._state.floor.memory

    @property
    def in_a_row(self) -> int:
        """Messages of models since a human or a simulated user spoke; open turns count."""
        floor, members = self._state.floor, self._state.members
        count = floor.in_a_row
        for key, given in floor.grants.items():
            if given.purpose == "speak" and members[key].role == "model":
                count += 1
        return count

    def random(self) -> float:
        """A float in [0, 1) from the room's generator, which it advances."""
        floor = self._state.floor
        floor.generator, drawn = splitmix64(floor.generator)
        return drawn

    def under(self, defaults: Mapping[str, Any]) -> "Situation":
        """The same for another policy, which the one in force falls back on."""
        return Situation(self._state, {**defaults, **self.params}, self.owing)


def who_owe(state: RoomState) -> Sequence[Candidate]:
    """Candidates who owe an answer, in order of arrival.

    The last message that was for all says it of everybody but its sender, so most are looked at for a moment only.
    """
    idle, records = state.idle, state.records
    if not idle:
        return ()
    said = state.history[-1] if state.history else None
    if said is not None and (said.to is not None or said.redacted is not None):
        said = next((one for one in reversed(state.history) if one.to is None and one.redacted is None), None)
    if said is None:
        return ()
    last, sender = said.seq, key_of(said.sender)
    owing: list[Candidate] = []
    for key in idle if len(idle) == 1 else [key for key in records if key in idle]:
        record = records[key]
        if record.heard >= last or record.deafened or (key == sender and not owes(state, record)):
            continue
        member = state.members[key]
        if not _hindrance(state, member, record):
            bid = _bid(state, key) if state.floor.hands else None
            owing.append(Candidate(key, member.name, member.role, True, record.heard, record.spoke, bid))
    return owing


def _bid(state: RoomState, key: str) -> float | None:
    for hand in state.floor.hands:
        if key_of(hand.name) == key:
            return hand.urgency
    return None


def owes(state: RoomState, record: Record) -> bool:
    """Whether somebody else said something to all that this participant has not answered or passed on."""
    heard, name = record.heard, record.name
    if record.deafened or heard >= state.seq:
        return False
    for message in reversed(state.history):
        if message.seq <= heard:
            return False
        if message.sender == name or message.to is not None or message.redacted is not None:
            continue
        if key_of(message.sender) != key_of(name):
            return True
    return False


def can_speak(state: RoomState, key: str) -> bool:
    """Whether this is an agent that is here, ready and unmuted, and has not got the floor."""
    member, record = state.members.get(key), state.records.get(key)
    if member is None or record is None or key in state.floor.grants:
        return False
    return member.role in AGENTS and not _hindrance(state, member, record)


def _hindrance(state: RoomState, member: Member, record: Record) -> Literal["", "slow", "loading", "silenced"]:
    """Why this member cannot speak now; nothing where it can."""
    if member.away or record.muted_until > state.now:
        return "silenced"
    if (record.budget or state.budget) and budgets.is_spent(state, record):
        return "silenced"
    if not member.ready:
        return "loading"
    return "slow" if record.slow_until > state.now else ""


def _waits(state: RoomState, member: Member, record: Record) -> Waits:
    """Why somebody cannot speak now who will be able to by itself."""
    hindrance = _hindrance(state, member, record)
    return "" if hindrance == "silenced" else hindrance


def splitmix64(state: int) -> tuple[int, float]:
    """The next state and a float in [0, 1). Steele, Lea and Flood, OOPSLA 2014; small enough for a snapshot."""
    mask = (1 << 64) - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    mixed = state
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    mixed ^= mixed >> 31
    return state, (mixed >> 11) / (1 << 53)
