"""Carries out random steps: a hub that stamps them, and clients that mostly use the grant they have."""

from collections.abc import Iterable, Iterator

import msgspec

from palaver.core import room
from palaver.core.effects import Effect
from palaver.core.entry import Entry, HubStarted, Joined, Left
from palaver.core.message import key_of
from palaver.core.protocol import Pass, Say
from palaver.core.state import RoomState
from tests.core.random_logs import NAMES, ROLES, START, Step


def seated() -> RoomState:
    """A room in which everybody of `NAMES` sits."""
    state = RoomState(name="main")
    for _ in carry_out(state, [Step(name, Joined(hub="h", seed=11), 0.0, True) for name in NAMES]):
        pass
    return state


def stamped(state: RoomState, step: Step, number: int, now: float) -> Entry:
    """The entry that a hub would log for this step, given the room as it is."""
    frame = step.frame
    given = state.floor.grants.get(key_of(step.name))
    if step.honest and given is not None and isinstance(frame, Say | Pass):
        frame = msgspec.structs.replace(frame, turn=given.turn)
    member = state.members.get(key_of(step.name))
    if isinstance(frame, Left) and member is not None:
        frame = msgspec.structs.replace(frame, connection=member.connection)
    hubs_own = step.name == "hub" or isinstance(frame, HubStarted)
    return Entry(
        id=f"n{number}",
        room="main",
        session="" if hubs_own else f"s-{key_of(step.name)}",
        name=step.name,
        role=ROLES.get(step.name, "observer"),
        time=now,
        frame=frame,
    )


def carry_out(state: RoomState, steps: Iterable[Step]) -> Iterator[tuple[Entry, list[Effect]]]:
    """Apply the steps one by one; each entry with its effects."""
    now = max(state.now, START)
    for number, step in enumerate(steps, state.applied):
        now += step.wait
        entry = stamped(state, step, number, now)
        effects = room.apply(state, entry)
        state.applied += 1
        yield entry, effects
