"""Two conversations beside each other."""

from hypothesis import given
from hypothesis import strategies as st

from palaver.core.message import Message, key_of
from palaver.records.alignment import aligned, common
from tests.core.test_prompt import message, rooms, talk


@given(left=rooms(), right=rooms())
def test_every_message_has_its_place_once_and_in_order(left: list[Message], right: list[Message]) -> None:
    rows = list(aligned(left, right))
    assert [row.left for row in rows if row.left] == left
    assert [row.right for row in rows if row.right] == right
    for row in rows:
        if row.left and row.right:
            assert key_of(row.left.sender) == key_of(row.right.sender)


@given(messages=rooms(), cut=st.integers(0, 30))
def test_what_both_begin_with_is_common(messages: list[Message], cut: int) -> None:
    branch = [*messages[:cut], message(99, "Ada", "another way")]
    assert common(messages, branch) == min(cut, len(messages))


def test_a_turn_that_only_one_side_has_does_not_shift_the_others() -> None:
    left, right = talk(6), talk(6)
    del right[2]
    rows = list(aligned(left, right))
    assert [(bool(row.left), bool(row.right), row.is_same) for row in rows] == [
        (True, True, True),
        (True, True, True),
        (True, False, False),
        (True, True, True),
        (True, True, True),
        (True, True, True),
    ]


def test_whispers_and_redactions_are_differences() -> None:
    one = [message(1, "Ada", "a")]
    assert common(one, [message(1, "Ada", "a", to="Bob")]) == 0
    assert common(one, [message(1, "Ada", "a", redacted="rude")]) == 0
    assert common(one, [message(1, "ADA", "a")]) == 1
