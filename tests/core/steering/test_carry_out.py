"""Any text as a command: taken or refused, never half done, and done twice it is done once."""

from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.core import room
from palaver.core.commands import COMMANDS
from palaver.core.effects import Reply
from palaver.core.entry import Entry
from palaver.core.protocol import Ack, Command, Nack
from palaver.core.state import RoomState, decode_state, encode_state
from tests.core.crowd import carry_out, seated
from tests.core.random_logs import Step, commands, logs
from tests.core.world import START, World, room_of

# Each of these does something anew each time it is asked for.
NOT_TWICE_THE_SAME: Final = frozenset({"sys", "sendas", "w", "undo", "retry", "step"})


def command(state: RoomState, text: str, ident: str) -> Ack | Nack:
    """A moderator's command; its answer."""
    entry = Entry(
        id=ident,
        room="main",
        session="s-mod",
        name="Mod",
        role="moderator",
        time=max(state.now, START),
        frame=Command(id=ident, text=text),
    )
    answers = [e.frame for e in room.apply(state, entry) if isinstance(e, Reply) and isinstance(e.frame, Ack | Nack)]
    return next(answer for answer in answers if answer.id == ident)


def without_ids(state: RoomState) -> bytes:
    """The state apart from the ids that were seen."""
    copy = decode_state(encode_state(state))
    copy.seen = {}
    return encode_state(copy)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(steps=logs.map(lambda steps: steps[:12]), texts=st.lists(commands, max_size=12))
def test_any_text_is_taken_or_refused_and_what_is_refused_changes_nothing(steps: list[Step], texts: list[str]) -> None:
    state = seated()
    for _ in carry_out(state, steps):
        pass
    if "mod" not in state.members:
        return
    for number, text in enumerate(texts):
        before = without_ids(state)
        answer = command(state, text, f"t{number}")
        if isinstance(answer, Nack):
            assert without_ids(state) == before, text
        if "mod" not in state.members:
            return


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(steps=logs.map(lambda steps: steps[:12]), text=commands)
def test_a_command_given_twice_changes_nothing_the_second_time(steps: list[Step], text: str) -> None:
    state = seated()
    for _ in carry_out(state, steps):
        pass
    if "mod" not in state.members:
        return
    first = command(state, text, "first")
    if isinstance(first, Nack) or "mod" not in state.members:
        return
    verb = next((verb for verb in COMMANDS if text.lstrip("/").lower().startswith(verb)), "")
    if any(name.startswith(text.lstrip("/").split()[0].lower()) for name in NOT_TWICE_THE_SAME):
        return
    second = command(state, text, "second")
    if isinstance(second, Ack):
        assert second.changed is None, (verb, text, second)


# --- texts that once broke the rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "/",
        "/\t",
        "/\n x",
        " ",
        "",
        "/floor Ada for ²",
        "/floor Ada for " + "9" * 5000,
        "/set Ada history=inf",
        "/set Ada history=nan",
        "/set Ada temperature=inf",
        "/set Ada delay=-1",
        "/budget Ada tokens=inf",
        "/budget all cost=nan",
        "/budget all cost=-1",
        "/policy open max_in_a_row=inf",
        "/policy open max_in_a_row=-1",
        "/policy open delay=1e11",
        "/policy debate phases=[1]",
        '/policy debate phases=\'[{"turns":"many"}]\'',
        "/policy debate phases='[{\"turns\":1e30}]'",
        "/policy debate phases='[{\"speaker\":[]}]'",
        "/policy debate phases='[[[[['",
        "/alarm window=0",
        "/alarm overlap=0.5 rubbish=1",
        "/slow inf",
        "/slow nan",
        "/hops 0.5",
        "/step 0",
        "/mute Mod",
        "/pause Ada Mod",
        "/kick @",
        '/kick ""',
        "/kick",
        "/unban nobody",
        "/why 99",
        "/retry Ada",
        "/ok 7",
        "/pin 3",
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(text: str) -> None:
    world = room_of("Ada")
    assert world.refused(text)


@pytest.mark.parametrize("dimension", ["text", "kind", "name", "actor", "state", "data", "value"])
def test_a_score_may_be_called_anything(dimension: str) -> None:
    world = room_of("Ada")
    assert world.do(f"/score Ada {dimension} 4") == {f"score Ada {dimension}": [None, 4.0]}
    assert world.events("score")[-1].data == {"name": "Ada", "dimension": dimension, "value": 4.0}


def test_a_refused_command_that_is_sent_again_is_refused_again() -> None:
    world = room_of("Ada")
    assert isinstance(world.command("/mute Nobody", ident="same"), Nack)
    assert isinstance(world.command("/mute Nobody", ident="same"), Nack)


def test_a_command_that_is_sent_again_is_done_once_and_acknowledged_again() -> None:
    world = room_of("Ada")
    assert isinstance(world.command("/mute Ada", ident="same"), Ack)
    world.do("/unmute Ada")
    again = world.command("/mute Ada", ident="same")
    assert isinstance(again, Ack) and again.timestamp and not again.changed
    assert not world.state.records["ada"].is_muted(world.now)


def test_the_door_lets_a_command_through_that_was_done_before() -> None:
    world = room_of("Ada")
    world.command("/mute Ada", ident="same")
    world.leave("Mod")
    assert room.refuses(world.state, world.log[-2]) is None


def test_only_moderators_give_commands() -> None:
    world: World = room_of("Ada")
    answer = world.command("/pause", by="Ada")
    assert isinstance(answer, Nack) and answer.code == "not_allowed"
    assert not world.state.floor.paused


def test_what_changed_is_told_to_everybody_and_what_did_not_to_nobody() -> None:
    world = room_of("Ada")
    world.do("/mute Ada")
    assert [event.text for event in world.events("command")] == ["Ada muted"]
    world.do("/mute Ada")
    assert len(world.events("command")) == 1
