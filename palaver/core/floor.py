"""The floor of a room: granting, revoking and passing it on. Functions on a state that say what is to be done.

The fence is the turn: a message is heard only under the number of an open grant. Steering (pause, mute, kick, a new
policy, a spent budget) bumps the epoch and revokes in the same step, so nothing said under the old state gets in.
"""

from collections.abc import Sequence
from typing import Final

from palaver.core.effects import FLOOR_CHANGED, Announce, Effect, Entrust, Reply, Silence
from palaver.core.message import Message, key_of, timestamp
from palaver.core.notices import notice
from palaver.core.policies import NOBODY, POLICIES, Decision, Policy, models_left
from palaver.core.protocol import Grant as GrantFrame
from palaver.core.protocol import Revoke
from palaver.core.situation import Candidate, Situation, can_speak, who_owe
from palaver.core.state import Floor, Grant, Record, RoomState

KEPT_DECISIONS: Final = 256
KEPT_HELD: Final = 100
"""So many messages may wait for approval; then agents wait for the moderator."""
_ROUNDS: Final = range(64)
"""Those who raised a hand come one after another; it never needs more."""
PAUSERS: Final = 20
"""Names of those who have paused a room, at most."""


def policy_of(state: RoomState) -> Policy:
    """The policy in force."""
    return POLICIES[state.floor.policy]


def decide(state: RoomState, out: list[Effect]) -> None:
    """Let the policy give the floor on, once those are through who come before it."""
    floor, policy = state.floor, POLICIES[state.floor.policy]
    for _ in _ROUNDS:
        if floor.paused or state.ended or (floor.grants and not policy.concurrent):
            return
        owing = who_owe(state)
        if not owing and policy.owing_only and not floor.hands and floor.reserved_turns <= 0:
            return  # as after most entries
        now = situation(state, owing)
        asked = kept_or_asked(state, now) if floor.hands or floor.reserved_turns > 0 else None
        decision = policy.decide(now) if asked is None else asked
        given = False
        for key in decision.speakers:
            if key in state.members:
                given |= grant(state, out, key, decision.reason)
        if decision.select:
            grant(state, out, decision.select, decision.reason, choices=decision.choices)
        if asked is None or not given or not policy.concurrent:
            return


def situation(state: RoomState, owing: Sequence[Candidate] | None = None) -> Situation:
    """What the policy in force gets to see now; who owes an answer is found out where it is not given."""
    defaults, params = policy_of(state).defaults, state.floor.params
    return Situation(state, {**defaults, **params} if params else defaults, who_owe(state) if owing is None else owing)


def kept_or_asked(state: RoomState, now: Situation) -> Decision | None:
    """Who comes before what the policy decides: whom the moderator keeps the floor for, or who raised a hand."""
    floor = state.floor
    if floor.reserved_turns > 0:
        if can_speak(state, floor.reserved):
            return Decision((floor.reserved,), f"floor: kept by the moderator, {floor.reserved_turns} turns")
        if floor.reserved in floor.grants or any(
            one.key == floor.reserved and one.waits == "slow" for one in now.everyone
        ):
            return NOBODY
        floor.reserved_turns = 0
    if floor.hands and policy_of(state).takes_hands:
        for hand in floor.hands:
            key = key_of(hand.name)
            if can_speak(state, key) and (state.members[key].role != "model" or models_left(now) > 0):
                return Decision((key,), "hand: asked for the floor")
    return None


def _has_room(state: RoomState) -> bool:
    """Whether one more turn may be given now, beside those that are open."""
    left, grants = left_when_free(state), state.floor.grants
    return left > len(grants) or left > sum([given.purpose == "speak" for given in grants.values()])


def left_when_free(state: RoomState) -> int:
    """How many agent messages the hop limit, `/step` and the queue for approval allow; no limit is a million."""
    floor = state.floor
    left = floor.hop_limit - floor.since_human if floor.hop_limit else 1_000_000
    if floor.steps is not None and floor.steps < left:
        left = floor.steps
    if floor.sealed:
        left -= len(floor.sealed)
    held_back = KEPT_HELD - len(state.held)
    return left if left < held_back else held_back


def grant(state: RoomState, out: list[Effect], key: str, reason: str, *, choices: tuple[str, ...] = ()) -> bool:
    """Give the floor to the member `key`; says whether it was given."""
    floor = state.floor
    member = state.members[key]
    if key in floor.grants or not (choices or _has_room(state)):
        return False
    floor.turn = turn = floor.turn + 1
    given = Grant(
        name=member.name,
        turn=turn,
        epoch=floor.epoch,
        since=state.now,
        deadline=state.now + floor.lease,
        context=state.seq,
        reason=reason,
        purpose="select" if choices else "speak",
        choices=choices,
    )
    floor.grants[key] = given
    state.idle.pop(key, None)
    if floor.hands:
        floor.hands = [hand for hand in floor.hands if key_of(hand.name) != key]
    decisions = state.decisions
    decisions[turn] = reason
    decisions.pop(turn - KEPT_DECISIONS, None)  # turns are numbered without a gap
    out.append(Entrust(member.session, given))
    out.append(FLOOR_CHANGED)
    return True


def grant_frame(state: RoomState, given: Grant) -> GrantFrame:
    """What the holder is told."""
    return GrantFrame(
        room=state.name,
        timestamp=timestamp(given.since),
        turn=given.turn,
        epoch=given.epoch,
        lease=given.deadline - given.since,
        context=given.context,
        policy=state.floor.policy,
        reason=given.reason,
        purpose=given.purpose,
        choices=given.choices,
    )


def revoke(state: RoomState, out: list[Effect], key: str, reason: str) -> bool:
    """Take the floor back, if `key` has it; its client is told to stop, and what it streams is cut off."""
    floor = state.floor
    given = _end(state, key)
    if given is None:
        return False
    out += [Silence(given.turn), FLOOR_CHANGED]
    if (member := state.members.get(key)) is not None:
        record = state.records[key]
        record.revoked[given.turn] = state.now
        while len(record.revoked) > 100:
            del record.revoked[next(iter(record.revoked))]
        out.append(
            Reply(
                member.session,
                Revoke(
                    room=state.name,
                    timestamp=timestamp(state.now),
                    turn=given.turn,
                    epoch=floor.epoch,
                    reason=reason,
                ),
            )
        )
    return True


def _end(state: RoomState, key: str) -> Grant | None:
    """Take a grant off the list and count how long it was held."""
    given = state.floor.grants.pop(key, None)
    if given is not None:
        state.records[key].seconds += state.now - given.since
        state.idle[key] = True
    return given


def hand_over(state: RoomState, out: list[Effect], key: str, reason: str) -> None:
    """The moderator gives the floor to the member `key` alone, whatever slow mode says; if it has it, it goes on."""
    bump(state)
    for other, given in list(state.floor.grants.items()):
        if other != key or given.purpose != "speak":
            revoke(state, out, other, reason)
    state.records[key].slow_until = 0.0
    state.members[key].away = False
    if key not in state.floor.grants:
        grant(state, out, key, reason)


def unreserve(state: RoomState, key: str) -> None:
    """No more turns are kept for this participant."""
    if state.floor.reserved == key:
        state.floor.reserved_turns = 0


def silence(state: RoomState, out: list[Effect], key: str, reason: str) -> None:
    """Steer one participant into silence: a new epoch, its grant revoked, its sealed words thrown away."""
    bump(state)
    revoke(state, out, key, reason)
    unreserve(state, key)
    state.floor.sealed = [words for words in state.floor.sealed if key_of(words.name) != key]


def forget(state: RoomState, out: list[Effect], key: str) -> None:
    """Take the floor from one whose connection is gone; it still owes its answer when it comes back."""
    given = _end(state, key)
    if given is not None:
        out += [Silence(given.turn), FLOOR_CHANGED]


def complete(state: RoomState, out: list[Effect], key: str) -> Grant:
    """The holder has spoken or passed: the grant is used up."""
    floor, record = state.floor, state.records[key]
    given = floor.grants.pop(key)
    state.idle[key] = True
    record.seconds += state.now - given.since
    if given.context > record.heard:
        record.heard = given.context
    if given.purpose == "speak":
        use_up(floor, key, record)
    out.append(FLOOR_CHANGED)
    return given


def use_up(floor: Floor, key: str, record: Record) -> None:
    """A turn is over that was spoken in, passed or stopped; not one that was taken back."""
    floor.last = key
    record.turns += 1
    if floor.reserved_turns and floor.reserved == key:
        floor.reserved_turns -= 1


def pace(state: RoomState, out: list[Effect], seconds: float) -> None:
    """Slow mode: so many seconds between two messages of one agent; 0 lifts it at once."""
    state.floor.slow = seconds
    if not seconds:
        for record in state.records.values():
            record.slow_until = 0.0
    out.append(FLOOR_CHANGED)


def bump(state: RoomState) -> None:
    """A new epoch: something was steered."""
    state.floor.epoch += 1


def pause(state: RoomState, out: list[Effect], reason: str, *, by: str = "") -> bool:
    """Silence, wanted by the moderator `by`: every grant is revoked; False where it changes nothing."""
    floor = state.floor
    noted = bool(by) and by not in floor.paused_by and len(floor.paused_by) < PAUSERS
    if noted:
        floor.paused_by.append(by)
    if floor.paused:  # by itself or by others: that this one wants it too is steering
        if noted:
            bump(state)
            out.append(FLOOR_CHANGED)
        return noted
    floor.paused = True
    floor.steps = None
    bump(state)
    for key in list(floor.grants):
        revoke(state, out, key, reason)
    out.append(FLOOR_CHANGED)
    return True


def resume(state: RoomState, out: list[Effect]) -> bool:
    """End of the silence; counters that pause a room begin anew. Says whether it was paused."""
    floor = state.floor
    was_paused = floor.paused
    floor.paused = False
    floor.paused_by = []
    floor.steps = None
    begin_anew(state)
    if was_paused:
        bump(state)
        out.append(FLOOR_CHANGED)
    return was_paused


def begin_anew(state: RoomState) -> None:
    """A human has spoken, or lets the room go on: what agents said since the last time counts no more."""
    floor = state.floor
    if floor.since_human or floor.in_a_row:
        floor.since_human = floor.in_a_row = 0
    if state.alarm:
        state.alarm.pop("raised", None)


def spoken(state: RoomState, out: list[Effect], message: Message) -> None:
    """Count an agent's message that was just published; pause the room where a limit is reached with it."""
    floor = state.floor
    floor.since_human += 1
    floor.in_a_row = floor.in_a_row + 1 if message.role == "model" else 0
    if floor.steps is not None:
        step(state, out)
    if floor.hop_limit:
        enforce_hop_limit(state, out)


def step(state: RoomState, out: list[Effect]) -> None:
    """Count a message of `/step`; pause the room after the last."""
    floor = state.floor
    if floor.steps is not None:
        floor.steps -= 1
        if floor.steps <= 0:
            pause(state, out, "step done")


def enforce_hop_limit(state: RoomState, out: list[Effect]) -> None:
    """Pause the room where agents have spoken too often without a human."""
    floor = state.floor
    if floor.hop_limit and floor.since_human >= floor.hop_limit and pause(state, out, "hop limit"):
        text = f"{floor.hop_limit} messages without a human: the room has paused itself; /resume lets it go on"
        out.append(Announce(notice(state, text, level="warning", code="hop_limit")))
