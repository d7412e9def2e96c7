"""The table of floor states against rooms that live long."""

from palaver.core import room
from palaver.core.effects import Publish
from palaver.core.entry import decode_entry, encode_entry
from palaver.core.floor_states import STATES, TRANSITIONS, mermaid, state_of
from palaver.core.message import AGENTS
from palaver.core.protocol import Command
from palaver.core.state import RoomState, decode_state, encode_state
from tests.core.test_room import as_bytes
from tests.core.wanderer import live

SEEDS = range(200)


def test_the_floor_goes_the_ways_of_the_table_and_all_of_them() -> None:
    """Also: a state that nobody may speak in holds no grant."""
    table = {(way.before, way.after) for way in TRANSITIONS}
    seen = set()
    for seed in SEEDS:
        lives = list(live(seed, 500))
        log = lives[-1][0].log if lives else []
        state = RoomState(name="main")
        before = state_of(state)
        for entry in log:
            room.apply(state, entry)
            after = state_of(state)
            if after != before:
                assert (before, after) in table, (seed, entry)
                seen.add((before, after))
            if after in ("paused", "ended", "free"):
                assert not state.floor.grants, (seed, entry)
            before = after
    assert seen == table


def test_long_lives_replay_byte_for_byte_through_log_and_snapshots() -> None:
    for seed in SEEDS:
        one, other = RoomState(name="main"), RoomState(name="main")
        world = [world for world, _, _ in live(seed, 300)][-1]
        for number, entry in enumerate(world.log):
            if number % 17 == seed % 17:
                other = decode_state(encode_state(other))
            again = room.apply(other, decode_entry(encode_entry(entry)))
            assert as_bytes(again) == as_bytes(room.apply(one, entry)), (seed, entry)
        assert encode_state(other) == encode_state(one) == encode_state(world.state), seed


def test_long_lives_keep_silence_and_the_hop_limit() -> None:
    """No agent is heard while it is muted or the room is paused, and none beyond the hop limit."""
    for seed in SEEDS:
        world = [world for world, _, _ in live(seed, 500)][-1]
        state, unattended = RoomState(name="main"), 0
        for entry in world.log:
            quiet = state.floor.paused or state.ended
            muted = {key for key, record in state.records.items() if record.is_muted(max(state.now, entry.time))}
            effects = room.apply(state, entry)
            heard = [effect.message for effect in effects if isinstance(effect, Publish)]
            if isinstance(entry.frame, Command) or any(message.role not in AGENTS for message in heard):
                unattended = 0
                continue
            assert not (quiet and heard), (seed, entry)
            said = {message.sender.casefold() for message in heard if message.turn is not None}
            assert not said & muted, (seed, entry)
            unattended += len(heard)
            assert unattended <= (state.floor.hop_limit or unattended), (seed, entry)


def test_the_diagram_draws_every_state_and_every_way() -> None:
    drawn = mermaid()
    assert all(f"    {way.before} --> {way.after}: " in drawn for way in TRANSITIONS)
    assert {state for way in TRANSITIONS for state in way[:2]} == set(STATES)
