"""A room's state as members are told: its seats and its floor."""

from itertools import islice

from palaver.core import budgets, floor
from palaver.core.message import Role, timestamp
from palaver.core.policies import debate_waits, due_in_debate, models_left, rotation
from palaver.core.protocol import FloorView, Holder, Seat, Welcome
from palaver.core.seats import CROWD
from palaver.core.situation import Situation
from palaver.core.state import Member, RoomState


def welcome(state: RoomState, name: str, role: Role, session: str, *, delivered: int, time: float) -> Welcome:
    """The room as a newcomer finds it, who was sent everything up to the `seq` `delivered`."""
    return Welcome(
        room=state.name,
        timestamp=timestamp(time),
        name=name,
        role=role,
        session=session,
        seq=state.seq,
        missed=state.seq - delivered,
        members=len(state.members),
        roster=roster(state),
        floor=floor_view(state),
        pins=tuple(state.pins),
    )


def roster(state: RoomState) -> tuple[Seat, ...]:
    """Who is here, in order of arrival; of a crowd only those who can speak, and at most 200."""
    shown = state.members if len(state.members) <= CROWD else islice(state.speakers, CROWD)
    return tuple(_seat(state, key, state.members[key]) for key in shown)


def _seat(state: RoomState, key: str, member: Member) -> Seat:
    record = state.records.get(key)
    return Seat(
        name=member.name,
        role=member.role,
        state="away" if member.away else "ready" if member.ready else "loading",
        muted=record is not None and record.is_muted(state.now),
        deafened=record is not None and record.deafened,
        about=member.about,
    )


def floor_view(state: RoomState) -> FloorView:
    """The floor as members are told."""
    now, situation = state.floor, floor.situation(state)
    return FloorView(
        room=state.name,
        timestamp=timestamp(state.now),
        epoch=now.epoch,
        paused=now.paused,
        policy=now.policy,
        params=situation.params,
        holders=tuple(
            Holder(name=given.name, turn=given.turn, since=timestamp(given.since), reason=given.reason)
            for given in now.grants.values()
        ),
        muted=tuple(record.name for record in state.records.values() if record.is_muted(state.now)),
        hands=tuple(hand.name for hand in now.hands),
        queue=tuple(_queue(state, situation)),
        since_human=now.since_human,
        hop_limit=now.hop_limit,
        slow=now.slow,
        approval=now.approval,
        held=len(state.held),
        budget=_budget_used(state),
        topic=state.topic,
        paused_by=tuple(now.paused_by) if now.paused else (),
        waits=_waits(state, situation),
        ended=state.ended,
    )


def _budget_used(state: RoomState) -> float | None:
    shares = [budgets.share(budgets.spent_by_room(state), state.budget)] if state.budget else []
    shares += [budgets.share(budgets.spent_by(state, one), one.budget) for one in state.records.values() if one.budget]
    return round(max(shares), 3) if shares else None


def _waits(state: RoomState, situation: Situation) -> str:
    """What is in the way of those who wait, where nobody has paused the room."""
    if state.floor.paused or state.floor.grants or state.ended:
        return ""
    if state.floor.policy == "debate":
        return debate_waits(situation)
    if models_left(situation) > 0 or not (owing := situation.owing) or any(one.role != "model" for one in owing):
        return ""
    limit = situation.params["max_in_a_row"]
    return (
        f"models wait for a person to speak: {limit} messages in a row; "
        f"/policy {state.floor.policy} max_in_a_row=0 lets them go on"
    )


def _queue(state: RoomState, situation: Situation) -> list[str]:
    """Names of those who wait for the floor, nearest first, as far as can be known without drawing."""
    if state.ended:
        return []
    waiting = [hand.name for hand in state.floor.hands]
    return waiting + [name for name in _expected(state, situation) if name not in waiting]


def _expected(state: RoomState, situation: Situation) -> list[str]:
    match state.floor.policy:
        case "chair":
            return []
        case "debate":
            names = {one.key: one.name for one in situation.everyone}
            return [names[key] for key in due_in_debate(situation) if key in names and key not in state.floor.grants]
        case "round_robin" | "mention":
            return [one.name for one in rotation(situation)]
    return [one.name for one in situation.owing]
