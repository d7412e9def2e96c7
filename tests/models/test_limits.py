"""Requests and tokens a minute, exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.models.limits import OverBudget, RateLimit, Window


def test_the_61st_request_in_a_minute_waits_until_the_first_is_a_minute_old() -> None:
    limit = RateLimit(requests_per_minute=60)
    assert [limit.admit(100.0 + number * 0.1, 1).wait for number in range(60)] == [0.0] * 60
    assert limit.admit(106.0, 1).wait == pytest.approx(54.0)
    assert limit.admit(106.0, 1).wait == pytest.approx(54.1)


def test_tokens_are_limited_too_and_the_counted_ones_replace_the_estimate() -> None:
    limit = RateLimit(tokens_per_minute=100)
    first = limit.admit(0.0, 90)
    assert limit.admit(1.0, 50).wait == pytest.approx(59.0)
    fresh = RateLimit(tokens_per_minute=100)
    first = fresh.admit(0.0, 90)
    fresh.settle(first, 10)
    assert fresh.admit(1.0, 50).wait == 0.0


def test_a_request_that_no_minute_can_hold_fails_at_once() -> None:
    with pytest.raises(OverBudget, match="500, and the limit is 100"):
        RateLimit(tokens_per_minute=100).admit(0.0, 500)


def test_a_refused_request_takes_no_place() -> None:
    limit = RateLimit(requests_per_minute=1, tokens_per_minute=100)
    with pytest.raises(OverBudget):
        limit.admit(0.0, 500)
    assert limit.admit(0.0, 50).wait == 0.0


def test_silence_asked_for_is_kept_by_all() -> None:
    limit = RateLimit()
    limit.keep_quiet(until=12.0)
    assert limit.quiet_for(10.0) == 2.0
    assert limit.admit(10.0, 1).wait == 2.0
    assert limit.admit(13.0, 1).wait == 0.0


def test_a_limit_that_lets_nothing_through_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="positive"):
        RateLimit(requests_per_minute=0)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0, 30, allow_nan=False), st.integers(1, 4)), min_size=1, max_size=60),
)
def test_no_minute_ever_holds_more_than_the_limit(limit: int, arrivals: list[tuple[float, int]]) -> None:
    window, now, placed = Window(limit), 0.0, []
    for gap, amount in arrivals:
        now += gap
        if amount > limit:
            continue
        at = window.earliest(now, amount)
        window.take(at, amount)
        placed.append((at, amount))
    assert [at for at, _ in placed] == sorted(at for at, _ in placed)
    for start, _ in placed:
        assert sum(amount for at, amount in placed if start <= at < start + 60.0) <= limit
