"""Pause means silence: after a pause, a mute or a kick no word of the silenced gets out, whatever its client sends."""

from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.core import room
from palaver.core.effects import Effect, Publish
from palaver.core.entry import Entry, Joined
from palaver.core.message import AGENTS, key_of
from palaver.core.protocol import Command, Grant, Say
from palaver.core.state import RoomState
from tests.core.crowd import carry_out, seated
from tests.core.random_logs import NAMES, ROLES, Step, agent_frames, logs, policies, steps, waits

AGENT_NAMES = [name for name in NAMES if ROLES[name] in AGENTS]
relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def own_words(effects: Iterable[Effect], names: Iterable[str]) -> list[Publish]:
    """Published words that their author's client sent, not a moderator's in its name."""
    keys = {key_of(name) for name in names}
    return [
        effect
        for effect in effects
        if isinstance(effect, Publish)
        and key_of(effect.message.sender) in keys
        and not (effect.message.meta or {}).get("sent_as")
    ]


def command(text: str) -> Step:
    """A moderator's command."""
    return Step("Mod", Command(id=f"own {text}", text=text), 0.0, True)


adversaries = st.builds(
    Step,
    name=st.sampled_from(AGENT_NAMES),
    frame=agent_frames,
    wait=waits,
    honest=st.booleans(),
)
"""Clients that say whatever they like, under any turn."""
crowd = st.lists(adversaries | steps().filter(lambda step: not isinstance(step.frame, Command)), max_size=30)


def adversary_says_every_turn(state: RoomState, name: str) -> list[Effect]:
    """The client offers its words under every turn there ever was, and under none."""
    effects: list[Effect] = []
    for number, turn in enumerate([None, *range(state.floor.turn + 2)]):
        entry = Entry(
            id=f"adversary {number}",
            room="main",
            session=f"s-{key_of(name)}",
            name=name,
            role=ROLES[name],
            time=state.now,
            frame=Say(content="never", id=f"adversary {name} {number}", turn=turn),
        )
        effects += room.apply(state, entry)
    return effects


def ready(before: list[Step], policy: str) -> RoomState | None:
    """A room with a past under some policy, where a moderator still sits and nothing is over."""
    state = seated()
    for _ in carry_out(state, [*before[:15], command("/resume"), command(f"/policy {policy}")]):
        pass
    return None if state.ended or "mod" not in state.members else state


@relaxed
@given(before=logs, policy=policies, after=crowd)
def test_no_agent_is_heard_in_a_paused_room(before: list[Step], policy: str, after: list[Step]) -> None:
    """A2.6"""
    state = ready(before, policy)
    if state is None:
        return
    said: list[Publish] = []
    for _, effects in carry_out(state, [command("/pause"), *after]):
        said += own_words(effects, AGENT_NAMES)
    for name in AGENT_NAMES:
        said += own_words(adversary_says_every_turn(state, name), [name])
    assert said == []


@relaxed
@given(before=logs, policy=policies, after=crowd, name=st.sampled_from(AGENT_NAMES))
def test_no_word_of_a_muted_agent_is_heard(before: list[Step], policy: str, after: list[Step], name: str) -> None:
    state = ready(before, policy)
    if state is None or key_of(name) not in state.records or key_of(name) not in state.members:
        return
    said: list[Publish] = []
    for _, effects in carry_out(state, [command(f'/mute "{name}"'), *after]):
        said += own_words(effects, [name])
    assert said + own_words(adversary_says_every_turn(state, name), [name]) == []


@relaxed
@given(before=logs, policy=policies, after=crowd, name=st.sampled_from(AGENT_NAMES))
def test_no_word_of_a_kicked_agent_is_heard_before_it_joins_again(
    before: list[Step], policy: str, after: list[Step], name: str
) -> None:
    state = ready(before, policy)
    if state is None or key_of(name) not in state.members:
        return
    others = [step for step in after if not (step.name == name and isinstance(step.frame, Joined))]
    said: list[Publish] = []
    for _, effects in carry_out(state, [command(f'/kick "{name}"'), *others, command("/ok all")]):
        said += own_words(effects, [name])
    assert said + own_words(adversary_says_every_turn(state, name), [name]) == []


@relaxed
@given(steps=logs)
def test_an_agent_is_only_heard_under_a_grant_that_was_not_revoked(steps: list[Step]) -> None:
    state = seated()
    for entry, effects in carry_out(state, steps):
        for effect in own_words(effects, AGENT_NAMES):
            if effect.message.turn is not None:
                assert effect.message.turn not in state.records[key_of(effect.message.sender)].revoked, entry


@relaxed
@given(steps=logs, limit=st.integers(1, 6))
def test_agents_never_say_more_than_the_hop_limit_without_a_human(steps: list[Step], limit: int) -> None:
    """A line of a human, /resume, /step, /ok and words sent in another's name are a human's doing."""
    state = seated()
    state.floor.hop_limit = limit
    unattended = 0
    for entry, effects in carry_out(state, [step for step in steps if not _is(step, "/hops", "/sendas", "/hop")]):
        if isinstance(entry.frame, Command) or any(
            isinstance(effect, Publish) and effect.message.role not in AGENTS for effect in effects
        ):
            unattended = 0
            continue
        unattended += len(own_words(effects, AGENT_NAMES))
        assert unattended <= limit, entry


def _is(step: Step, *verbs: str) -> bool:
    return isinstance(step.frame, Command) and step.frame.text.lower().startswith(verbs)


@relaxed
@given(steps=logs, limit=st.integers(1, 8))
def test_open_grants_never_exceed_what_the_hop_limit_leaves(steps: list[Step], limit: int) -> None:
    state = seated()
    state.floor.hop_limit = limit
    for entry, effects in carry_out(state, [step for step in steps if not _is(step, "/h", "/sendas", "/o", "/n")]):
        grants = [effect for effect in effects if isinstance(getattr(effect, "frame", None), Grant)]
        speaking = [given for given in state.floor.grants.values() if given.purpose == "speak"]
        if grants:
            assert len(speaking) + state.floor.since_human <= limit, entry
