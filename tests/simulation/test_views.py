"""The two views of a conversation."""

from palaver.simulation.views import for_assistant, for_user
from tests.simulation.talks import ANSWER, QUESTION, SYSTEM


def test_neighbours_of_one_role_are_merged_and_system_texts_go_first() -> None:
    late = {"role": "system", "content": "Be brief."}
    assert for_assistant([SYSTEM, QUESTION, QUESTION, late, ANSWER]) == [
        {"role": "system", "content": "You are a helpful assistant.\n\nBe brief."},
        {"role": "user", "content": "What is gradient descent?\nWhat is gradient descent?"},
        ANSWER,
    ]


def test_words_bear_no_names() -> None:
    assert for_user([QUESTION, ANSWER], "me")[1:] == [
        {"role": "assistant", "content": QUESTION["content"]},
        {"role": "user", "content": ANSWER["content"]},
    ]


def test_a_colon_in_the_words_is_no_label() -> None:
    said = {"role": "user", "content": "user: assistant: hello"}
    assert for_assistant([said]) == [said]
