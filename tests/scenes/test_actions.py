"""What is read as which action, and how each is told."""

import pytest

from palaver.scenes.actions import TYPES, Action, UnreadableAction, read

READ = [
    ("Hello there.", Action("speak", "Hello there.")),
    ('said: "Hello."', Action("speak", "Hello.")),
    ("said: Hello", Action("speak", "Hello")),
    ("did nothing", Action("none")),
    ("*did nothing.*", Action("none")),
    ("", Action("none")),
    ("[PASS]", Action("none")),
    ("left the conversation", Action("leave")),
    ("Left the conversation.", Action("leave")),
    ("He left the conversation", Action("speak", "He left the conversation")),
    ("[action] opens the door", Action("action", "opens the door")),
    ("[Non-verbal communication]: nods", Action("non-verbal communication", "nods")),
    ("[action]", Action("none")),
    ("[laughs] Well!", Action("speak", "[laughs] Well!")),
    ('{"action_type": "speak", "argument": "Hi"}', Action("speak", "Hi")),
    ('```json\n{"action_type": "action", "argument": "waves"}\n```', Action("action", "waves")),
    ('Sure: {"action_type": "leave", "argument": ""}', Action("leave")),
    ('{"action_type": "speak", "argument": ""}', Action("none")),
    ('{"answer": 42}', Action("speak", '{"answer": 42}')),
]


@pytest.mark.parametrize(("words", "action"), READ)
def test_texts_json_and_plain_words_are_read(words: str, action: Action) -> None:
    assert read(words) == action


@pytest.mark.parametrize(
    "action", [Action("none"), Action("leave"), *(Action(kind, "so it is") for kind in TYPES[1:4])]
)
def test_what_the_room_hears_and_what_evaluators_read_mean_the_same(action: Action) -> None:
    assert read(action.words) == read(action.text) == action


def test_speech_is_heard_plainly_and_told_in_quotes() -> None:
    assert (Action("speak", "Hi").words, Action("speak", "Hi").text) == ("Hi", 'said: "Hi"')
    assert Action("action", "waves").words == Action("action", "waves").text == "[action] waves"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('{"action_type": "dance", "argument": "x"}', "'dance' is unknown"),
        ('{"action_type": "speak", "argument": "x', "broken"),
        ("left the conversation", "'leave' cannot be done here; possible: speak"),
    ],
)
def test_what_cannot_be_done_is_said(words: str, problem: str) -> None:
    with pytest.raises(UnreadableAction, match=problem):
        read(words, ["speak"])


def test_doing_nothing_is_always_possible() -> None:
    assert read("did nothing", ["speak"]) == Action("none")
