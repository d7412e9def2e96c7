"""Short cuts change nothing: the floor is the one that a look at everything after each entry would give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core import room
from palaver.core.entry import Entry
from palaver.core.policies import POLICIES
from palaver.core.state import RoomState, decode_state, encode_state
from tests.core.crowd import carry_out, seated
from tests.core.plain_floor import plainly
from tests.core.random_logs import Step, logs
from tests.core.test_room import as_bytes, relaxed
from tests.core.wanderer import live


def assert_same(short: RoomState, plain: RoomState, entry: Entry) -> None:
    """One entry for both: effects and states (floor, epoch, turns, the generator) are the same."""
    effects = room.apply(short, entry)
    with plainly():
        long_way = room.apply(plain, entry)
    assert as_bytes(effects) == as_bytes(long_way), entry
    assert encode_state(short) == encode_state(plain), entry


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
