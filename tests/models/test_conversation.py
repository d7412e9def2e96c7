"""Conversations and messages (seed 1)."""

import json
from typing import Any

import pytest

from palaver import APIResponse, Conversation, Message
from palaver.models.conversation import snapshot


def test_a_conversation_begins_on_the_class_and_on_an_instance() -> None:
    """A1.1"""
    for conversation in (Conversation.system("s"), Conversation().system("s")):
        assert conversation.messages == [Message("system", "s")]
    assert Conversation.system("a") is not Conversation.system("a")
    fluent = Conversation.system("s").user("u").ai("a")
    assert [message.role for message in fluent.messages] == ["system", "user", "assistant"]


def test_messages_keep_their_order_and_roles() -> None:
    """A1.2"""
    conversation = Conversation()
    given = [Message.user("u"), Message.ai("a"), Message.system("s")]
    for message in given:
        assert conversation.add(message) is conversation
    assert conversation.messages == given
    assert [message.role for message in conversation.messages] == ["user", "assistant", "system"]
    assert conversation.messages.pop().role == "system"


@pytest.mark.parametrize(
    ("content", "completion"),
    [
        ("text", "text"),
        ("", None),
        (None, None),
        (
            [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "what is this?"}],
            "what is this?",
        ),
        ([], None),
    ],
)
def test_completion_is_the_text_or_none(content: Any, completion: str | None) -> None:
    """A1.2"""
    assert Message("user", content).completion == completion


@pytest.mark.parametrize("message", ["hello", {"role": "user", "content": "hello"}])
def test_only_messages_are_added(message: Any) -> None:
    with pytest.raises(TypeError, match=r"add takes a Message, as Message\.user\(text\) makes one, not "):
        Conversation.system("s").add(message)


@pytest.mark.parametrize("log", [{}, {"version": 1}, {"version": 1, "messages": "x"}, '{"version": 1}', None])
def test_what_is_no_log_is_refused(log: Any) -> None:
    with pytest.raises(ValueError, match="a conversation"):
        Conversation.from_log(log)


def test_a_log_gives_the_same_conversation_again() -> None:
    """A1.8"""
    call = {"id": "c", "type": "function", "function": {"name": "dice", "arguments": "{}"}}
    conversation = Conversation.system("s").user("ü 🎲\n")
    conversation.add(Message("assistant", None, (call,))).add(Message.tool("4", "c")).ai("a four")
    conversation.model_used = "stub-model"
    again = Conversation.from_log(json.loads(json.dumps(conversation.to_log())))
    assert again == conversation
    assert again.model_used == "stub-model"


def test_a_log_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="version 9"):
        Conversation.from_log({"version": 9, "messages": []})


def test_openais_format_goes_in_and_out() -> None:
    chat: list[dict[str, Any]] = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "t"}]},
    ]
    assert Conversation.from_openai_chat(chat).to_openai() == chat
    with pytest.raises(ValueError, match="role"):
        Conversation.from_openai_chat([{"content": "nobody's"}])


def test_a_fork_goes_its_own_way() -> None:
    conversation = Conversation.system("s")
    conversation.fork().user("u")
    assert len(conversation.messages) == 1


def test_a_request_keeps_the_messages_that_it_was_sent_with() -> None:
    conversation = Conversation.system("s")
    sent = snapshot(conversation)
    conversation.user("later")
    assert len(sent) == 1


def test_an_answer_is_added_with_the_model_that_gave_it() -> None:
    answer = APIResponse("text", False, None, "stub-model")
    conversation = Conversation.user("u").add_response(answer)
    assert conversation.messages[-1] == Message.ai("text")
    assert conversation.model_used == "stub-model"


def test_tokens_are_estimated() -> None:
    assert Conversation.system("x" * 40).user("y" * 40).count_tokens() == 20 + 12
