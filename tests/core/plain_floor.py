"""The floor decided the long way: everybody and everything is looked at after each entry, nothing is spared.

The rules take short cuts, because most entries change nothing for the floor. The tests hold them against this.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from palaver.core import budgets, floor
from palaver.core.effects import Effect
from palaver.core.message import Message, key_of
from palaver.core.policies import POLICIES, Decision, models_left
from palaver.core.situation import Candidate, splitmix64
from palaver.core.state import Member, Record, RoomState


@dataclass
class Situation:
    """What a policy sees, all of it prepared."""

    state: RoomState
    everyone: list[Candidate]
    candidates: list[Candidate]
    owing: list[Candidate]
    turns: dict[str, int]
    missing: frozenset[str]
    history: list[Message]
    memory: dict[str, Any]
    last: str
    in_a_row: int
    params: dict[str, Any]

    def random(self) -> float:
        """From the room's generator."""
        self.state.floor.generator, drawn = splitmix64(self.state.floor.generator)
        return drawn

    def under(self, defaults: Mapping[str, Any]) -> "Situation":
        """For another policy."""
        return replace(self, params={**defaults, **self.params})


@contextmanager
def plainly() -> Iterator[None]:
    """The rules decide the long way meanwhile."""
    short = floor.decide, floor._has_room
    floor.decide, floor._has_room = decide, _has_room
    try:
        yield
    finally:
        floor.decide, floor._has_room = short


def _has_room(state: RoomState) -> bool:
    """As `floor._has_room`: what the limits allow, less each open turn to speak."""
    now = state.floor
    limits = [100 - len(state.held), (now.hop_limit - now.since_human if now.hop_limit else 10**6) - len(now.sealed)]
    if now.steps is not None:
        limits.append(now.steps - len(now.sealed))
    return min(limits) - len([one for one in now.grants.values() if one.purpose == "speak"]) > 0


def decide(state: RoomState, out: list[Effect]) -> None:
    """As `floor.decide`, again and again until a look at everything gives nobody the floor."""
    policy = POLICIES[state.floor.policy]
    for _ in range(64):
        if state.floor.paused or state.ended or (state.floor.grants and not policy.concurrent):
            return
        decision = _next(state, _situation(state))
        speakers = [key for key in decision.speakers if key in state.members]
        granted = [key for key in speakers if floor.grant(state, out, key, decision.reason)]
        if decision.select:
            floor.grant(state, out, decision.select, decision.reason, choices=decision.choices)
        if not granted:
            return


def _next(state: RoomState, now: Situation) -> Decision:
    able = {one.key: one for one in now.candidates}
    if state.floor.reserved_turns > 0:
        key = state.floor.reserved
        if key in able:
            return Decision((key,), f"floor: kept by the moderator, {state.floor.reserved_turns} turns")
        if key in state.floor.grants or any(one.key == key and one.waits == "slow" for one in now.everyone):
            return Decision()
        state.floor.reserved_turns = 0
    for hand in state.floor.hands if POLICIES[state.floor.policy].takes_hands else ():
        one = able.get(key_of(hand.name))
        if one is not None and (one.role != "model" or models_left(now) > 0):  # type: ignore[arg-type]  # it looks the same
            return Decision((one.key,), "hand: asked for the floor")
    return POLICIES[state.floor.policy].decide(now)  # type: ignore[arg-type]  # it looks the same


def _situation(state: RoomState) -> Situation:
    now, agents = state.floor, state.agents()
    everyone = [_candidate(state, *agent) for agent in agents]
    silent = {key for key, member, record in agents if _is_silenced(state, member, record)}
    candidates = [one for one in everyone if one.key not in silent | now.grants.keys() and not one.waits]
    models = [given for key, given in now.grants.items() if state.members[key].role == "model"]
    return Situation(
        state,
        everyone,
        candidates,
        [one for one in candidates if one.owes],
        {key: record.turns for key, record in state.records.items()},
        frozenset(key for key, record in state.records.items() if state.now < record.left + now.lease)
        if now.policy == "debate"
        else frozenset(),
        state.history,
        now.memory,
        now.last,
        now.in_a_row + sum(given.purpose == "speak" for given in models),
        {**POLICIES[now.policy].defaults, **now.params},
    )


def _candidate(state: RoomState, key: str, member: Member, record: Record) -> Candidate:
    bids = {key_of(hand.name): hand.urgency for hand in state.floor.hands}
    waits: Any = "loading" if not member.ready else "slow" if record.slow_until > state.now else ""
    if _is_silenced(state, member, record):
        waits = ""
    heard, spoke = record.heard, record.spoke
    return Candidate(key, member.name, member.role, _owes(state, key, record), heard, spoke, bids.get(key), waits)


def _is_silenced(state: RoomState, member: Member, record: Record) -> bool:
    return member.away or record.is_muted(state.now) or budgets.is_spent(state, record)


def _owes(state: RoomState, key: str, record: Record) -> bool:
    public = [one for one in state.history if one.to is None and one.redacted is None and key_of(one.sender) != key]
    return not record.deafened and any(one.seq > record.heard for one in public)
