"""Short cuts change nothing: the floor is the one that a look at everything after each entry would give."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core import room
from palaver.core.entry import Entry
from palaver.core.policies import POLICIES
from palaver.core.state import Record, RoomState, decode_state, encode_state
from tests.core.crowd import carry_out, seated
from tests.core.plain_floor import plainly
from tests.core.random_logs import Step, logs
from tests.core.test_room import as_bytes, relaxed
from tests.core.wanderer import live
from tests.core.world import room_of

KEPT = ("idle", "rationed")


def assert_same(short: RoomState, plain: RoomState, entry: Entry) -> None:
    """One entry for both: effects and states (floor, epoch, turns, the generator) are the same."""
    effects = room.apply(short, entry)
    with plainly():
        long_way = room.apply(plain, entry)
    assert as_bytes(effects) == as_bytes(long_way), entry
    assert encode_state(short) == encode_state(plain), entry
    assert short.idle.keys() == {key for key, _, _ in short.agents() if key not in short.floor.grants}, entry


@pytest.mark.parametrize("seed", range(12))
def test_a_long_life_is_the_same_the_long_way(seed: int) -> None:
    short, plain = RoomState(name="main"), RoomState(name="main")
    *_, (world, _, _) = live(seed, 300)
    assert len(world.log) > 10
    for entry in world.log:
        assert_same(short, plain, entry)


@relaxed
@given(steps=logs, policy=st.sampled_from(sorted(POLICIES)), hops=st.sampled_from([0, 3, 40]))
def test_any_log_is_the_same_the_long_way(steps: list[Step], policy: str, hops: int) -> None:
    state = seated()
    state.floor.policy, state.floor.hop_limit = policy, hops
    short, plain = decode_state(encode_state(state)), decode_state(encode_state(state))
    for entry, _ in carry_out(state, steps):
        assert_same(short, plain, entry)


@pytest.mark.parametrize("seed", range(4))
def test_a_snapshot_of_before_these_were_kept_gives_the_same_room(seed: int) -> None:
    for world, _, _ in live(seed, 100):
        older = {name: value for name, value in json.loads(encode_state(world.state)).items() if name not in KEPT}
        back = decode_state(json.dumps(older).encode())
        assert back == world.state or back.idle.keys() == world.state.idle.keys()
        assert back.rationed or not any(record.budget for record in back.records.values())


class Unread(dict[str, Record]):
    """Records that are found by their key only."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all who were ever here were looked at")

    keys = values = items = __iter__  # type: ignore[assignment]  # whatever they would give


def test_nobody_is_looked_at_who_was_here_once() -> None:
    """A message took 300 us in a room in which 900 had been, 2 in another."""
    world = room_of("Ada", "Bob")
    world.say("Mod")
    world.state.records = Unread(world.state.records)
    before = world.state.floor.turn
    for _ in range(3):
        world.say("Ada")
        world.say("Mod", "go on")
    assert world.state.floor.turn == before + 3
