"""Properties of any log: the same room for everybody who applies it, no gaps, no doubles, no exceptions."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.core import due, floor, room, views
from palaver.core.effects import Acknowledge, Announce, Effect, Publish, Reply
from palaver.core.entry import Entry, decode_entry, encode_entry
from palaver.core.errors import ProtocolError
from palaver.core.message import AGENTS, timestamp
from palaver.core.policies import POLICIES
from palaver.core.protocol import Ack, Command, Nack, Say
from palaver.core.state import RoomState, decode_state, encode_state
from tests.core.crowd import carry_out, seated
from tests.core.random_logs import START, Step, logs, wild_entries
from tests.core.world import replied, room_of

relaxed = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def as_bytes(effects: list[Effect]) -> bytes:
    """Effects as bytes, their kinds included."""
    return msgspec.json.encode([(type(effect).__name__, effect) for effect in effects])


@relaxed
@given(steps=logs, places=st.sets(st.integers(0, 39)))
def test_any_log_replays_to_the_same_state_and_effects_byte_for_byte(steps: list[Step], places: set[int]) -> None:
    """Also through the log's encoding, and with the state kept and taken up again in between."""
    one, other = seated(), seated()
    for number, (entry, effects) in enumerate(carry_out(one, steps)):
        if number in places:
            other = decode_state(encode_state(other))
        again = room.apply(other, decode_entry(encode_entry(entry)))
        other.applied += 1
        assert as_bytes(again) == as_bytes(effects), entry
        assert encode_state(other) == encode_state(one), entry


@relaxed
@given(steps=logs, policy=st.sampled_from(sorted(POLICIES)))
def test_where_nobody_is_owed_no_policy_would_give_the_floor(steps: list[Step], policy: str) -> None:
    """The short look that spares most entries the long one changes neither who speaks nor what is remembered."""
    state = seated()
    for _ in carry_out(state, steps):
        state.floor.policy, state.floor.params = policy, {}
        before = encode_state(state)
        now = floor.situation(state)
        if POLICIES[policy].owing_only and not now.owing:
            decision = POLICIES[policy].decide(now)
            assert (decision.speakers, decision.select) == ((), "")
            assert encode_state(state) == before


@relaxed
@given(steps=logs)
def test_numbers_have_no_gap_and_an_id_is_said_once(steps: list[Step]) -> None:
    state = seated()
    seqs: list[int] = []
    said: list[tuple[str, str]] = []
    for entry, effects in carry_out(state, steps):
        for effect in effects:
            if isinstance(effect, Publish):
                seqs.append(effect.message.seq)
        if isinstance(entry.frame, Say) and entry.frame.id:
            own = [e for e in effects if isinstance(e, Publish) and e.message.id == entry.frame.id and e.session]
            said += [(entry.session, entry.frame.id) for _ in own]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(said) == len(set(said))
    assert state.seq == len(seqs)


@relaxed
@given(steps=logs)
def test_every_message_and_command_of_a_member_is_answered(steps: list[Step]) -> None:
    state = seated()
    for entry, effects in carry_out(state, steps):
        if isinstance(entry.frame, Say | Command):
            own = [effect for effect in effects if isinstance(effect, Reply | Acknowledge | Publish)]
            frames = replied([effect for effect in own if effect.session == entry.session])
            answers = [frame for frame in frames if isinstance(frame, Ack | Nack) and frame.id == entry.frame.id]
            if entry.frame.id or isinstance(entry.frame, Command):
                assert answers, entry


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(entries=st.lists(wild_entries, max_size=30))
def test_no_entry_that_can_be_decoded_makes_the_rules_raise(entries: list[Entry]) -> None:
    state = seated()
    for entry in entries:
        room.refuses(state, entry)
        room.apply(state, entry)
        views.floor_view(state)
        views.roster(state)
        assert all(moment == moment for moment, _ in due.deadlines(state))
    assert encode_state(decode_state(encode_state(state))) == encode_state(state)


@pytest.mark.parametrize("time", ["-1", "1e12", "1e300"])
def test_a_time_that_no_calendar_knows_is_no_entry(time: str) -> None:
    raw = f'{{"id":"a","room":"main","session":"","name":"hub","role":"observer","time":{time},'
    with pytest.raises(ProtocolError):
        decode_entry(raw.encode() + b'"frame":{"type":"elapsed","key":"wake"}}')


@relaxed
@given(steps=logs)
def test_the_door_refuses_only_what_the_room_would_refuse(steps: list[Step]) -> None:
    state, twin = seated(), seated()
    for entry, effects in carry_out(state, steps):
        refusal = room.refuses(twin, entry)
        room.apply(twin, entry)
        if refusal is not None:
            codes = [e.frame.code for e in effects if isinstance(e, Reply) and isinstance(e.frame, Nack)]
            assert codes == [refusal.code], entry
            assert not [e for e in effects if isinstance(e, Publish | Announce)], entry


def test_a_refusal_at_the_door_bears_the_time_of_what_it_refuses() -> None:
    """Nothing may have happened in the room for long."""
    world = room_of("Ada")
    world.do("/mute Ada 60s")
    entry = msgspec.structs.replace(world.log[-1], name="Ada", role="model", session="s-ada")
    words = Say(id="m", content="hello", turn=1)
    refusal = room.refuses(world.state, msgspec.structs.replace(entry, time=world.now + 50, frame=words))
    assert refusal is not None and refusal.code == "muted"
    assert refusal.retry_after == pytest.approx(10)
    assert refusal.timestamp == timestamp(world.now + 50)
    refusal = room.refuses(world.state, msgspec.structs.replace(entry, time=world.now + 61, frame=words))
    assert refusal is not None and refusal.code == "no_floor"


def test_grants_are_only_ever_open_for_agents_that_sit_here() -> None:
    @relaxed
    @given(steps=logs)
    def holds(steps: list[Step]) -> None:
        state = seated()
        for entry, _ in carry_out(state, steps):
            for key in state.floor.grants:
                assert state.members[key].role in AGENTS, entry
            if state.floor.paused or state.ended:
                assert not state.floor.grants, entry

    holds()


def _entry(name: str, role: Any, frame: Any, time: float = START) -> Entry:
    return Entry(id="x", room="main", session=f"s-{name}", name=name, role=role, time=time, frame=frame)


def test_a_million_dollar_clock_does_not_go_back() -> None:
    state = RoomState(name="main")
    room.apply(state, _entry("Mod", "moderator", Say(content="a"), START + 5))
    room.apply(state, _entry("Mod", "moderator", Say(content="b"), START))
    assert state.now == START + 5
