"""What of a model's text a simulated user says."""

import pytest

from palaver.simulation.user_replies import read


@pytest.mark.parametrize(
    "raw",
    [
        '{"current_answer": "7", "thought": "add", "response": "Is it 7?"}',
        '```json\n{"current_answer": 7, "thought": "add", "response": "Is it 7?"}\n```',
        '```\n{"thought": "add", "current_answer": "7", "response": " Is it 7? "}```',
        'Here you are:\n{"thought": "add", "current_answer": "7", "response": "Is it 7?"}\nDone.',
        '<think>{"response": "no"}</think>{"thought": "add", "current_answer": "7", "response": "Is it 7?"}',
    ],
)
def test_json_is_taken_apart_fenced_bare_or_between_words(raw: str) -> None:
    reply = read(raw)
    assert (reply.text, reply.thought, reply.current_answer, reply.raw) == ("Is it 7?", "add", "7", raw)


def test_line_breaks_inside_json_strings_are_forgiven() -> None:
    assert read('{"response": "one\ntwo"}').text == "one\ntwo"


@pytest.mark.parametrize(
    "raw",
    [
        '{"response": "cut off he',
        '{"thought": "no response"}',
        '{"response": {"not": "text"}}',
        'My server sent {"response": "404"}, why?',
        "{ brace } and brace }",
    ],
)
def test_what_is_no_user_reply_in_json_is_said_as_it_stands(raw: str) -> None:
    assert read(raw).text == raw


@pytest.mark.parametrize(
    "raw",
    [
        "<think>secret</think>Hello.",
        "<THINKING>\nsecret\n</THINKING>\n\nHello.",
        "secret, with the opening tag in the prompt</think>Hello.",
        "<reasoning>one</reasoning>Hello.<think>two</think>",
    ],
)
def test_thoughts_are_not_said(raw: str) -> None:
    assert read(raw).text == "Hello."


def test_a_thought_that_never_ended_leaves_nothing_to_say() -> None:
    assert read("<think>I wonder whether").text == ""
