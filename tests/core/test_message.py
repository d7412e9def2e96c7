"""Messages, times and names."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from palaver.core.entry import LAST_SECOND
from palaver.core.message import same_name, timestamp


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_795_243_996.0429) == "2026-11-21T06:53:16.042Z"
    assert timestamp(LAST_SECOND) == "9999-12-31T23:59:59.000Z"


@given(st.lists(st.floats(0, LAST_SECOND) | st.floats(0, 3).map(lambda past: 1_795_243_996 + past)))
def test_times_one_after_another_are_each_told_as_if_alone(moments: list[float]) -> None:
    for moment in moments:
        second, millisecond = divmod(int(moment * 1000), 1000)
        plain = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        assert timestamp(moment) == timestamp(moment) == f"{plain}.{millisecond:03d}Z"


def test_letter_case_does_not_make_another_name() -> None:
    assert same_name("Zen", "zEN") and same_name("STRASSE", "straße") and not same_name("Zen", "Zena")
