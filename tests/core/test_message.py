"""Messages, times and names."""

from palaver.core.entry import LAST_SECOND
from palaver.core.message import same_name, timestamp


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_795_243_996.0429) == "2026-11-21T06:53:16.042Z"
    assert timestamp(LAST_SECOND) == "9999-12-31T23:59:59.000Z"


def test_letter_case_does_not_make_another_name() -> None:
    assert same_name("Zen", "zEN") and same_name("STRASSE", "straße") and not same_name("Zen", "Zena")
